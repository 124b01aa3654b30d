"""A corpus of odd text files, made here: each row states what a file's content is, or why not.

What is read is compared with the right value, so that nothing is lost, split or decoded otherwise
in silence; what is not read names its file, its line and the fact. No row may end in another
exception.
"""

import datetime
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dualipo import config, recipes, text_files
from dualipo.errors import ConfigError, DataError
from dualipo.prompts import caption_files
from dualipo.store import row_files
from dualipo.text_files import MAX_DEPTH

MARK = b"\xef\xbb\xbf"
LONG = "y" * 140_000


@dataclass(frozen=True)
class Bad:
    """A row that cannot be read, with a part of the reason."""

    reason: str


@dataclass(frozen=True)
class Refused:
    """A file that cannot be read, with a part of the error after its name."""

    error: str


def nested(depth: int) -> bytes:
    """Return lists in one another."""
    return b"[" * depth + b"]" * depth


def parquet(*names: str, **columns: Any) -> bytes:
    """Return a parquet file; `names` are those of the columns where two have one name."""
    sink = pa.BufferOutputStream()
    arrays = [pa.array(values) for values in columns.values()]
    pq.write_table(pa.Table.from_arrays(arrays, names=names or [*columns]), sink)
    return bytes(sink.getvalue().to_pybytes())


def bad_text() -> pa.Array:
    """Return a column of one text that is not UTF-8, which parquet may hold all the same."""
    lengths, content = pa.py_buffer(bytes(4) + b"\2\0\0\0"), pa.py_buffer(b"\xff\xfe")
    return pa.Array.from_buffers(pa.string(), 1, [None, lengths, content])


def rows(path: Path) -> list[Any]:
    """Read the rows of a file; one that is unfit stands there as its reason."""
    return [
        Bad(str(row)) if isinstance(row, row_files.Unfit) else row
        for _, row in row_files.rows(path)
    ]


def captions(path: Path) -> list[str]:
    return [text for batch in caption_files.batches(path) for text in batch["caption"].to_pylist()]


READERS: dict[str, Callable[[Path], Any]] = {
    "rows": rows,
    "json": lambda path: text_files.read_json(path, shape=dict),
    "value": text_files.read_json,
    "toml": text_files.read_toml,
    "recipe": recipes.read,
    "captions": captions,
    "config": lambda path: config.load(path).output_dir,
}

A1, A2 = {"a": 1}, {"a": 2}
# (reader, suffix, content, what it is)
CORPUS: dict[str, tuple[str, str, bytes, Any]] = {
    # JSON Lines
    "a mark before the first line": ("rows", ".jsonl", MARK + b'{"a":1}\n{"a":2}', [A1, A2]),
    "a mark within": ("rows", ".jsonl", b'{"a":"' + MARK + b'x"}', [{"a": "\ufeffx"}]),
    "CRLF": ("rows", ".jsonl", b'{"a":1}\r\n{"a":2}\r\n', [A1, A2]),
    "CR alone is a blank": ("rows", ".jsonl", b'{"a":\r1}\r\n', [A1]),
    "CR alone ends no line": ("rows", ".jsonl", b'{"a":1}\r{"a":2}', [Bad("something follows")]),
    "U+2028 is a letter": ("rows", ".jsonl", '{"a":"x\u2028y"}'.encode(), [{"a": "x\u2028y"}]),
    "U+0085 is a letter": ("rows", ".jsonl", '{"a":"x\x85y"}'.encode(), [{"a": "x\x85y"}]),
    "a form feed ends no line": ("rows", ".jsonl", b'{"a":1}\x0c{"a":2}', [Bad("follows")]),
    "blank lines": ("rows", ".jsonl", b'\n \t\r\n{"a":1}\n\n', [A1]),
    "no line at all": ("rows", ".jsonl", b"", []),
    "only a mark": ("rows", ".jsonl", MARK, []),
    "no last line end": ("rows", ".jsonl", b'{"a":1}', [A1]),
    "a torn line": ("rows", ".jsonl", b'{"a":1}\n{"a":\n{"a":2}', [A1, Bad("not JSON"), A2]),
    "one line in Latin-1": (
        *("rows", ".jsonl", b'{"a":1}\n{"a":"\xe4"}\n{"a":2}'),
        [A1, Bad("it is not UTF-8 (byte 0xe4)"), A2],
    ),
    "UTF-16": ("rows", ".jsonl", '{"a":1}'.encode("utf-16"), [Bad("it is UTF-16, not UTF-8")]),
    "a list for an object": ("rows", ".jsonl", b"[1]\n", [Bad("not an object of named values")]),
    "null for an object": ("rows", ".jsonl", b"null\n", [Bad("not an object of named values")]),
    "a name twice": ("rows", ".jsonl", b'{"a":1,"a":2}', [Bad("'a' stands twice")]),
    "half a character": ("rows", ".jsonl", rb'{"a":"\ud83d"}', [Bad("one half of a character")]),
    "a whole pair of halves": ("rows", ".jsonl", rb'{"a":"\ud83c\udfac"}', [{"a": "🎬"}]),
    "as deep as may be": ("rows", ".jsonl", b'{"a":' + nested(MAX_DEPTH - 2) + b"}", None),
    "too deep": ("rows", ".jsonl", b'{"a":' + nested(200) + b"}", [Bad("nested deeper than")]),
    "far too deep": ("rows", ".jsonl", b'{"a":' + nested(90_000) + b"}", [Bad("nested deeper")]),
    "too many digits": ("rows", ".jsonl", b'{"a":' + b"9" * 5000 + b"}", [Bad("too many digits")]),
    "a large number": ("rows", ".jsonl", b'{"a":' + b"9" * 400 + b"}", [{"a": 10**400 - 1}]),
    "no number": ("rows", ".jsonl", b'{"a":NaN}', None),
    "a NUL in a text": ("rows", ".jsonl", rb'{"a":"\u0000"}', [{"a": "\x00"}]),
    "a long field": ("rows", ".jsonl", f'{{"a":"{LONG}"}}'.encode(), [{"a": LONG}]),
    "Python's own spelling": ("rows", ".jsonl", b"{'a': 1}", [Bad("not JSON")]),
    "a comment": ("rows", ".jsonl", b'// rows\n{"a":1}', [Bad("not JSON"), A1]),
    # JSON
    "an array": ("rows", ".json", MARK + b'[{"a":1},\n{"a":2}]\n', [A1, A2]),
    "an array with CRLF": ("rows", ".json", b'[\r\n{"a":1},\r\n{"a":2}\r\n]', [A1, A2]),
    "an empty array": ("rows", ".json", b" [ ] ", []),
    "rows as JSON Lines": ("rows", ".json", b'{"a":1}\n{"a":2}\n', [A1, A2]),
    "an array of all kinds": ("rows", ".json", b'[1, null, {"a":1}]', [Bad(""), Bad(""), A1]),
    "an array with a name twice": (
        *("rows", ".json", b'[{"a":1,"a":2},{"a":1}]'),
        [Bad("stands twice"), A1],
    ),
    "a torn array": ("rows", ".json", b'[{"a":1},\n{"a":', Refused(":2: this is not JSON")),
    "a comma too many": ("rows", ".json", b'[{"a":1},]', Refused(":1: this is not JSON")),
    "a comma too few": ("rows", ".json", b'[{"a":1}\n{"a":2}]', Refused(":2: .*comma is missing")),
    "only commas": ("rows", ".json", b"[,]", Refused(":1: this is not JSON")),
    "more after the array": ("rows", ".json", b"[]\n[]", Refused(":2: .*follows the array")),
    "an object over lines": ("rows", ".json", b'{"rows":\n[]}', Refused(":1: .*several lines")),
    "a text": ("rows", ".json", b'"a"', Refused(":1: .*an array of objects")),
    "nothing": ("rows", ".json", b"", Refused(":1: .*ends too early")),
    "an array in Latin-1": ("rows", ".json", b'[\n{"a":"\xe4"}]', Refused(":2: .*byte 0xe4")),
    "a deep array": ("rows", ".json", nested(90_000), Refused(":1: .*nested deeper than")),
    "one object": ("json", ".json", MARK + b'{"a":\n1}\r\n', A1),
    "a list instead": ("json", ".json", b"[1]", Refused(": it holds a list, not an object")),
    "null instead": ("json", ".json", b"null", Refused(": it holds null, not an object")),
    "two values": ("value", ".json", b"1\n2", Refused(":1: .*something follows the value")),
    "a torn object": ("value", ".json", b'{\n"a": 1\n', Refused(":3: it is not JSON")),
    "a deep value": ("value", ".json", nested(MAX_DEPTH + 1), Refused(": .*nested deeper")),
    "a value in UTF-16": ("value", ".json", '{"a":1}'.encode("utf-16"), Refused(":1: .*UTF-16")),
    # CSV
    "a table with a mark": ("rows", ".csv", MARK + b"a,b\n1,2\n", [{"a": "1", "b": "2"}]),
    "a table with CRLF": ("rows", ".csv", b"a,b\r\n1,2\r\n", [{"a": "1", "b": "2"}]),
    "a line within a field": ("rows", ".csv", b'a\n"x\ny"\n', [{"a": "x\ny"}]),
    "U+2028 within a field": ("rows", ".csv", "a\nx\u2028y\n".encode(), [{"a": "x\u2028y"}]),
    "CR alone for a line": ("rows", ".csv", b"a\r1\r", Refused(":1: .*CR alone")),
    "CR alone in a row": ("rows", ".csv", b"a\n1\r2\n3\n", [Bad("not CSV"), {"a": "3"}]),
    "a header alone": ("rows", ".csv", b"a,b\n", []),
    "an empty table": ("rows", ".csv", b"", []),
    "two equal names": ("rows", ".csv", b"a,a\n1,2\n", Refused(":1: .*two equal names")),
    "a field too many": ("rows", ".csv", b"a\n1,2\n3\n", [Bad("2 fields"), {"a": "3"}]),
    "an open quote": ("rows", ".csv", b'a\n"1\n2\n', [Bad("not CSV")]),
    "a quote within": ("rows", ".csv", b'a\n"1"2\n3\n', [Bad("not CSV"), {"a": "3"}]),
    "a long CSV field": ("rows", ".csv", f"a\n{LONG}\n1\n".encode(), [{"a": LONG}, {"a": "1"}]),
    "a long name": ("rows", ".csv", f"{LONG}\n1\n".encode(), [{LONG: "1"}]),
    "a field over the limit": (
        *("rows", ".csv", b"a\n" + b"y" * (text_files.MAX_FIELD + 1) + b"\n1\n"),
        [Bad("field larger than field limit"), {"a": "1"}],
    ),
    "a CSV line in Latin-1": ("rows", ".csv", b"a\n\xe4\n1\n", [Bad("byte 0xe4"), {"a": "1"}]),
    "a header in Latin-1": ("rows", ".csv", b"\xe4\n1\n", Refused(":1: .*byte 0xe4")),
    "a table in UTF-16": ("rows", ".csv", "a\n1\n".encode("utf-16"), Refused(":1: .*UTF-16")),
    "a table with semicolons": (
        *("rows", ".csv", b"a;b\n1;2\n"),
        Refused(":1: its fields are separated by ';'"),
    ),
    "a table with tabs": ("rows", ".csv", b"a\tb\n1\t2\n", Refused(":1: .*'.t', where commas")),
    "blank lines before a header": ("rows", ".csv", b"\n\r\na\n1\n", [{"a": "1"}]),
    "UTF-16 without a mark": ("rows", ".csv", "a\n1\n".encode("utf-16-le"), Refused(":1: .*NUL")),
    "a spreadsheet for a table": ("rows", ".csv", b"PK\x03\x04\0\0\n", Refused(":1: .*NUL")),
    "a table in UTF-32": ("rows", ".csv", "a\n".encode("utf-32"), Refused(":1: .*UTF-32")),
    # Parquet
    "a date of no calendar": (
        *("rows", ".parquet", parquet(a=[1, 2], d=pa.array([2**30, 0], pa.date32()))),
        [Bad("A value of the row cannot be read"), {"a": 2, "d": datetime.date(1970, 1, 1)}],
    ),
    "a duration of no clock": (
        *("rows", ".parquet", parquet(d=pa.array([2**62], pa.duration("s")))),
        [Bad("cannot be read")],
    ),
    "a parquet text in another encoding": (
        *("rows", ".parquet", parquet(a=bad_text())),
        [Bad("cannot be read")],
    ),
    "two parquet columns of one name": (
        *("rows", ".parquet", parquet("a", "a", x=[1], y=[2])),
        Refused(": its header has two equal names"),
    ),
    # TOML
    "TOML with a mark": ("toml", ".toml", MARK + b"a = 1\r\n", A1),
    "TOML in Latin-1": ("toml", ".toml", b'a = 1\nb = "\xe4"\n', Refused(":2: .*byte 0xe4")),
    "a torn TOML": ("toml", ".toml", b"a = 1\n[b\n", Refused(":2: it is not TOML")),
    "a TOML key twice": ("toml", ".toml", b"a = 1\na = 2\n", Refused(":2: it is not TOML")),
    "TOML with CR alone": ("toml", ".toml", b"a = 1\rb = 2\r", Refused(":1: it is not TOML")),
    "a deep TOML": ("toml", ".toml", b"a = " + nested(9_000), Refused(": .*nested deeper")),
    "a TOML of dots": ("toml", ".toml", b"a." * 200 + b"a = 1", Refused(": .*nested deeper")),
    "TOML with many digits": ("toml", ".toml", b"a = " + b"9" * 5000, Refused(": it is not TOML")),
    "dashes in a recipe": ("recipe", ".toml", b"beta-dpo = 1", {"beta_dpo": 1}),
    "two spellings in a recipe": ("recipe", ".toml", b"a-b = 1\na_b = 1", Refused(".*twice")),
    "a recipe with a mark": ("config", ".toml", MARK + 'output_dir = "ü日"'.encode(), "ü日"),
    "a date for a number": ("config", ".toml", b"seed = 2024-01-01", Refused(": seed is .*whole")),
    # Captions
    "captions with a mark": ("captions", ".txt", MARK + "ä\r\n日\n".encode(), ["ä", "日"]),
    "captions with U+2028": ("captions", ".txt", "a\u2028b\n\nc".encode(), ["a\u2028b", "c"]),
    "captions in Latin-1": ("captions", ".txt", b"a\n\xe4\n", Refused(":2: .*byte 0xe4")),
    "a long caption": ("captions", ".txt", LONG.encode(), [LONG]),
    "captions between tabs": (
        *("captions", ".tsv", b"caption\tseed\na\t1\n"),
        Refused(r": captions are not read from \.tsv files\. Save it as \.txt with one"),
    ),
    "captions in YAML": ("captions", ".yaml", b"- a\n- b\n", Refused(r": .* from \.yaml files")),
    "captions in a CSV": ("captions", ".csv", b'caption\n"a, b"\n', ["a, b"]),
    "a caption that is a number": (
        "captions",
        ".jsonl",
        b'{"caption":1}',
        Refused(":1: .*no text"),
    ),
    "captions in two columns of one name": (
        *("captions", ".parquet", parquet("caption", "caption", x=["a"], y=["b"])),
        Refused(": .*two equal names"),
    ),
    "parquet captions that are numbers": (
        *("captions", ".parquet", parquet(caption=[1, 2])),
        Refused(": its column caption holds no texts but int64"),
    ),
    "parquet captions in another encoding": (
        *("captions", ".parquet", parquet(caption=bad_text())),
        Refused(": damaged or not parquet"),
    ),
    "parquet captions as bytes": ("captions", ".parquet", parquet(caption=[b"a"]), ["a"]),
    "parquet captions, some missing": (
        *("captions", ".parquet", parquet(caption=["a", None])),
        ["a", ""],
    ),
    "a seed that no column holds": (
        *("captions", ".jsonl", b'{"caption":"a","seed":' + b"9" * 30 + b"}"),
        ["a"],
    ),
}


def test_the_corpus_is_large_enough() -> None:
    assert len(CORPUS) >= 60


def agrees(value: Any, right: Any) -> bool:
    """Compare what was read with the right value, a reason by its part."""
    if isinstance(right, Bad):
        return isinstance(value, Bad) and right.reason in value.reason
    if isinstance(value, list) and isinstance(right, list):
        return len(value) == len(right) and all(map(agrees, value, right))
    return type(value) is type(right) and value == right


@pytest.mark.parametrize("name", CORPUS)
def test_fault_75_an_odd_file_is_read_as_it_is_or_refused_with_its_line(
    tmp_path: Path, name: str
) -> None:
    reader, suffix, content, right = CORPUS[name]
    path = tmp_path / f"odd{suffix}"
    path.write_bytes(content)
    if isinstance(right, Refused):
        with pytest.raises((DataError, ConfigError), match=f"odd\\{suffix}{right.error}"):
            READERS[reader](path)
        return
    value = READERS[reader](path)
    if name == "no number":
        assert math.isnan(value[0]["a"])
    elif name == "as deep as may be":
        assert len(value) == 1 and isinstance(value[0], dict)
    else:
        assert agrees(value, right), value


@pytest.mark.parametrize("reader", READERS)
def test_fault_75_a_path_that_is_no_file_is_told(tmp_path: Path, reader: str) -> None:
    (tmp_path / "odd.json").mkdir()
    (tmp_path / "file").touch()
    for path in ("odd.json", "none.json", "file/a.json", f"{'n' * 300}.json"):
        with pytest.raises(
            (DataError, ConfigError), match=r"folder|no such|too long|ot a directory"
        ):
            READERS[reader](tmp_path / path)


def test_fault_75_a_line_over_the_limit_is_one_bad_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(text_files, "MAX_LINE", 20)
    (tmp_path / "odd.jsonl").write_bytes(b'{"a":1}\n{"a":"' + b"x" * 50 + b'"}\n{"a":2}\n')
    read = list(row_files.rows(tmp_path / "odd.jsonl"))
    assert [line for line, _ in read] == [1, 2, 3]
    assert "longer than 20 bytes" in str(read[1][1]) and read[2][1] == A2


def test_a_file_over_the_limit_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text_files, "MAX_BYTES", 20)
    (tmp_path / "odd.json").write_bytes(b" " * 30)
    with pytest.raises(DataError, match="longer than 20 bytes"):
        text_files.read_json(tmp_path / "odd.json")
