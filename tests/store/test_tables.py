"""Tables: what is written is read, equal rows give equal bytes, damage is named."""

import random
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dualipo.errors import DataError
from dualipo.records import Candidate, Pair, Point, Prompt, Vote
from dualipo.store import tables

PAIR = Pair("x", "p1", "a red ball", "aa", "bb", "motion", "tie", "critic", "c0", grade_a="good")
RECORDS = [PAIR, Point("y", "p1", "a red ball", "aa", "motion", "bad", "human", "ann")]


def test_records_round_trip(tmp_path: Path) -> None:
    for number, record in enumerate(RECORDS):
        path = tmp_path / f"{number}.parquet"
        sha256 = tables.write_records(path, [record] * 3, record_type=type(record))
        assert tables.read_records(path, record_type=type(record)) == [record] * 3
        again = tables.write_records(path, [record] * 3, record_type=type(record))
        assert again == sha256
    tables.write_records(path, [], record_type=Prompt)
    assert tables.read_records(path, record_type=Prompt) == []


def test_every_record_has_columns() -> None:
    for record_type in (Prompt, Candidate, Vote, Pair, Point):
        assert tables.columns_of(record_type)
    assert tables.columns_of(Vote)["score"] == pa.float64()


def test_rows_have_exactly_the_columns(tmp_path: Path) -> None:
    columns = {"item": pa.string(), "shares": pa.list_(pa.float64())}
    rows = [{"item": "a", "shares": [0.5, 0.25]}, {"item": None, "shares": []}]
    tables.write_rows(tmp_path / "t.parquet", rows, kind="votes", columns=columns)
    assert tables.read_rows(tmp_path / "t.parquet", kind="votes") == rows
    with pytest.raises(DataError, match="holds 'votes', not 'prompts'"):
        tables.read_rows(tmp_path / "t.parquet", kind="prompts")
    with pytest.raises(AssertionError):
        tables.write_rows(tmp_path / "t.parquet", [{"item": "a"}], kind="votes", columns=columns)


def test_fault_11_a_torn_or_damaged_table_is_named(tmp_path: Path) -> None:
    path = tmp_path / "preferences.parquet"
    tables.write_records(path, [PAIR] * 50, record_type=Pair)
    content, rng = path.read_bytes(), random.Random(0)
    for tenth in range(10):
        path.write_bytes(content[: len(content) * tenth // 10])
        with pytest.raises(DataError, match=r"preferences\.parquet.*repeat the stage"):
            tables.read_records(path, record_type=Pair)
    for _ in range(10):
        flipped = bytearray(content)
        flipped[rng.randrange(4, len(content) // 3)] ^= 1 << rng.randrange(8)
        path.write_bytes(flipped)
        try:
            assert tables.read_records(path, record_type=Pair) == [PAIR] * 50
        except DataError as error:
            assert "preferences.parquet" in str(error)
    path.unlink()
    with pytest.raises(DataError, match="no such table"):
        tables.read_records(path, record_type=Pair)


def test_fault_40_a_newer_table_is_refused(tmp_path: Path, monkeypatch) -> None:
    path = tmp_path / "t.parquet"
    monkeypatch.setattr(tables, "SCHEMA_VERSION", 99)
    tables.write_records(path, [PAIR], record_type=Pair)
    monkeypatch.undo()
    content = path.read_bytes()
    with pytest.raises(
        DataError, match=r"t\.parquet: schema version 99 is newer\. Use the dualipo"
    ):
        tables.read_records(path, record_type=Pair)
    assert path.read_bytes() == content


def test_an_optional_field_has_a_column_only_where_a_row_has_a_value(tmp_path: Path) -> None:
    hard = Vote("p1", "motion", "ab", 0, "a", -1.0, "A moves.")
    soft = Vote("p1", "motion", "ab", 1, "b", -1.0, "", probabilities=(0.25, 0.75, 0.0))
    for name, rows, has_column in (("hard", [hard], False), ("soft", [hard, soft], True)):
        path = tmp_path / name
        tables.write_records(path, rows, record_type=Vote)
        assert ("probabilities" in pq.read_schema(path).names) == has_column
        assert tables.read_records(path, record_type=Vote) == rows
