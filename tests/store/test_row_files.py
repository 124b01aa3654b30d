"""Tests that rows come one by one with their lines, and that broken ones are named."""

import json
import random
import tracemalloc
from pathlib import Path
from typing import Any

import pytest

from dualipo.errors import DataError
from dualipo.store import row_files
from dualipo.store.row_files import Unfit


def all_rows(path: Path) -> list[tuple[int, Any]]:
    return [
        (line, str(row) if isinstance(row, Unfit) else row) for line, row in row_files.rows(path)
    ]


@pytest.mark.parametrize("chunk", [1, 2, 7, 1 << 18])
def test_a_json_array_is_read_as_json_reads_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, chunk: int
) -> None:
    monkeypatch.setattr(row_files, "_CHUNK", chunk)
    rng = random.Random(0)
    rows = [{"n": n, "text": rng.choice(['a"]', "b,\\", "ü\n", "{}"])} for n in range(30)]
    path = tmp_path / "rows.json"
    for indent in (None, 1):
        path.write_text(json.dumps(rows, indent=indent, ensure_ascii=bool(indent)))
        assert [row for _, row in all_rows(path)] == rows
    lines = [line for line, _ in all_rows(path)]
    assert lines == [2 + 4 * n for n in range(30)]
    path.write_text(" [ ] ")
    assert all_rows(path) == []


def test_a_json_array_is_not_read_whole(tmp_path: Path) -> None:
    path = tmp_path / "rows.json"
    path.write_text("[" + ",\n".join(f'{{"text": "{"x" * 9000}"}}' for _ in range(2000)) + "]")
    tracemalloc.start()
    assert sum(1 for _ in row_files.rows(path)) == 2000
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert path.stat().st_size > 18_000_000 and peak < 6_000_000


def test_broken_lines_are_told_and_the_others_read(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text('{"a": 1}\n{"a":\n[1]\n\n{"a": 2}\n')
    rows = all_rows(path)
    assert [line for line, _ in rows] == [1, 2, 3, 5]
    assert rows[0][1] == {"a": 1} and rows[3][1] == {"a": 2}
    assert "not JSON" in rows[1][1] and "not an object" in rows[2][1]
    path = tmp_path / "rows.csv"
    path.write_text('a,b\n1,2\n3\n"4\n5",6\n')
    assert all_rows(path) == [
        (2, {"a": "1", "b": "2"}),
        (3, "The line has 1 fields, but the header names 2."),
        (5, {"a": "4\n5", "b": "6"}),
    ]


@pytest.mark.parametrize(
    ("name", "content", "fact"),
    [
        ("a.json", b'[{"a": 1}, {"a": 2', r"a\.json:1: this is not JSON"),
        ("a.json", b'[\n{"a": 1}\n', r"a\.json:3: this is not JSON \(it ends too early\)"),
        ("a.json", b'"text"', "is an array of objects"),
        ("a.json", b"", "it ends too early"),
        ("a.csv", b"a,a\n1,2\n", "two equal names"),
        ("a.csv", b"\xff\n1\n", r"a\.csv:1: .*not UTF-8"),
        ("a.json", b'{\n"rows": [{"a": 1}]\n}', "one object over several lines"),
        ("a.parquet", b"PAR1 no", "damaged or not parquet"),
        ("a.zip", b"PK", "rows are read from .csv"),
        ("a.pkl", b"", "rows are read from .csv"),
    ],
)
def test_a_file_that_cannot_be_read_is_named(
    tmp_path: Path, name: str, content: bytes, fact: str
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=fact):
        all_rows(tmp_path / name)
    with pytest.raises(DataError, match="no such file"):
        all_rows(tmp_path / "none.json")
