"""Captions come out of every kind of file as they stand, in batches, and broken files are told."""

import json
import tracemalloc
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dualipo.captions import prompt_id
from dualipo.errors import DataError
from dualipo.prompts import caption_files, count, shards

CAPTIONS = ["a red circle", 'a "blue", square', "ein weißer Kreis\u2028", "  赤い円  "]
CATEGORIES = ["x", "", "y", "x"]
ROWS = [{"caption": c, "category": k} for c, k in zip(CAPTIONS, CATEGORIES, strict=True)]


def write(path: Path, column: str = "caption") -> Path:
    rows = [{column: row["caption"], "category": row["category"], "n": 1} for row in ROWS]
    if path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    elif path.suffix == ".csv":
        lines = [f'"{r[column].replace(chr(34), chr(34) * 2)}",{r["category"]},1' for r in rows]
        path.write_text("\n".join([f"{column},category,n", *lines]), encoding="utf-8-sig")
    elif path.suffix == ".json":
        path.write_text(json.dumps(rows))
    elif path.suffix == ".jsonl":
        path.write_text("\n".join(map(json.dumps, rows)))
    else:
        path.write_text("\n".join(["", *CAPTIONS, " "]) + "\n")
    return path


@pytest.mark.parametrize("name", ["c.parquet", "c.csv", "c.json", "c.jsonl", "c.txt", "captions"])
@pytest.mark.parametrize("column", caption_files.CAPTION_COLUMNS)
def test_every_kind_of_file_gives_the_same_captions(tmp_path, name, column):
    captions, categories = caption_files.read(write(tmp_path / name, column))
    assert captions == CAPTIONS
    assert categories == (CATEGORIES if Path(name).suffix not in ("", ".txt") else None)


def test_batches_are_of_one_shape_whatever_their_size(tmp_path):
    path = write(tmp_path / "c.csv")
    batches = [caption_files.named(b) for b in caption_files.batches(path, num_rows=3)]
    assert [len(batch) for batch in batches] == [3, 1]
    table = pa.concat_tables(batches)
    assert table.schema == shards.SCHEMA
    assert table["prompt_id"].to_pylist() == [prompt_id(caption) for caption in CAPTIONS]
    assert set(table["source"].to_pylist()) == {"given"}
    pieces = shards.cut(iter([table, table, table]), 5)
    assert [len(piece) for piece in pieces] == [5, 5, 2]


def test_a_folder_of_a_strangers_shards_is_read_in_order(tmp_path):
    for index, caption in enumerate(CAPTIONS):
        table = pa.table({"prompt": [caption, None]})
        pq.write_table(table, tmp_path / f"part-{index}.parquet")
    captions, _ = caption_files.read(tmp_path)
    assert captions == [text for caption in CAPTIONS for text in (caption, "")]


@pytest.mark.slow
def test_a_text_is_not_read_whole(tmp_path):
    path = tmp_path / "captions.txt"
    path.write_text("a red circle moves slowly to the left on a blue background\n" * 200_000)
    tracemalloc.start()
    assert sum(len(batch) for batch in caption_files.batches(path, num_rows=1000)) == 200_000
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert path.stat().st_size > 11_000_000 and peak < 3_000_000


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("c.csv", b"title,n\nx,1\n", "no column of captions among title, n"),
        ("c.csv", b"caption,n\nx\n", r"c\.csv:2: The line has 1 fields"),
        ("c.jsonl", b'{"caption": "a"}\n{"caption": 3}\n', r"c\.jsonl:2: its caption is no text"),
        ("c.jsonl", b'{"caption": "\\ud800"}\n', r"c\.jsonl:1: .*one half of a character"),
        ("c.json", b'["a", "b"]', "not an object"),
        ("c.parquet", b"PAR1", "damaged or not parquet"),
        ("c.txt", "ein weißer Kreis".encode("latin-1"), "not UTF-8"),
    ],
)
def test_a_broken_file_is_told(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=message):
        list(caption_files.batches(tmp_path / name))


@pytest.mark.parametrize("name", ["none.txt", "none.csv", "none.parquet", "none"])
def test_a_missing_file_is_told(tmp_path, name):
    with pytest.raises(DataError, match=r"(?i)no such file"):
        list(caption_files.batches(tmp_path / name))


def test_counts_are_those_of_the_rows(tmp_path):
    path = tmp_path / "c.jsonl"
    texts = ["a cat", "A  CAT", "a cat.", "a red dog runs", "one"]
    rows = [{"caption": text, "category": "x" if n < 2 else "y"} for n, text in enumerate(texts)]
    path.write_text("\n".join(map(json.dumps, rows)))
    counts = count.count(path)
    assert (counts.num, counts.num_repeats) == (5, 1)
    assert counts.categories == {"x": 2, "y": 3} and counts.sources == {"": 5}
    assert (counts.words["least"], counts.words["median"], counts.words["most"]) == (1, 2, 4)
    assert "category y: 3 (60.0 %)" in counts.text()
