"""Tests label sets: they are read back, migrated when old, and refused when new or damaged."""

from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest

from dualipo.errors import DataError
from dualipo.preferences import label_set
from dualipo.preferences.label_set import COLUMNS, LabelSet
from dualipo.records import SCHEMA_VERSION
from dualipo.store import atomic, tables
from tests.preferences.conftest import Importer, pair, point, tree

LATER = ("reason_a", "reason_b", "grade_a", "grade_b")


def test_pairs_and_points_stand_in_one_table(importing: Importer) -> None:
    aligned = importing("videoalign", "videoalign.csv").labels
    clip = aligned.clips[0]
    dark = replace(point(1, "bad", rationale="dark"), video=clip)
    output = importing("lift", "lift.json").output
    labels = LabelSet(aligned.pairs, (dark,))
    label_set.write(output, labels, history=[])
    assert label_set.read(output) == labels
    assert label_set.from_rows(label_set.to_rows(labels), subject="rows") == labels


def as_version_0(output: Path) -> None:
    """Rewrite the label set as version 0 had it, when a record had no reasons and grades."""
    rows = label_set.to_rows(LabelSet(label_set.read(output).pairs))
    rows = [{k: v for k, v in row.items() if k not in LATER} for row in rows]
    columns = {name: kind for name, kind in COLUMNS.items() if name not in LATER}
    old = [row | {"schema_version": 0} for row in rows]
    tables.write_rows(output / "labels.parquet", old, kind="Label", columns=columns)
    manifest = atomic.read_json(output / "labels.json")
    atomic.write_json(output / "labels.json", manifest | {"schema_version": 0})


def test_fault_40_an_older_label_set_is_migrated_beside_a_backup(importing: Importer) -> None:
    first = importing("videoalign", "videoalign.csv")
    as_version_0(first.output)
    old = tree(first.output)
    assert label_set.read(first.output) == first.labels
    assert tree(first.output) == old, "reading writes nothing"
    again = importing("videoalign", "videoalign.csv")
    assert again.labels == first.labels and again.report.num_known == len(first.labels.pairs)
    now = tree(first.output)
    assert label_set.read_manifest(first.output)["schema_version"] == SCHEMA_VERSION
    for name in ("labels.parquet", "labels.json"):
        assert now[f"{name}.v0.bak"] == old[name] != now[name]


def test_fault_40_a_newer_label_set_is_refused(importing: Importer) -> None:
    output = importing("videoalign", "videoalign.csv").output
    newer = {"schema_version": SCHEMA_VERSION + 1}
    manifest = label_set.read_manifest(output)
    atomic.write_json(output / "labels.json", manifest | newer)
    before = tree(output)
    for act in (lambda: label_set.read(output), lambda: importing("lift", "lift.json")):
        with pytest.raises(DataError, match=r"version is 2, but this program knows 1\. Use the"):
            act()
    assert tree(output) == before
    atomic.write_json(output / "labels.json", manifest)
    rows = [row | newer for row in label_set.to_rows(LabelSet((pair(0),)))]
    tables.write_rows(output / "labels.parquet", rows, kind="Label", columns=COLUMNS)
    with pytest.raises(DataError, match="row 1: its schema version is 2"):
        label_set.read(output)


@pytest.mark.parametrize(
    ("change", "fact"),
    [
        ({"verdict": "A"}, "verdict is 'A', not one of a, abstain, b, tie"),
        ({"source": "oracle"}, "source is 'oracle'"),
        ({"verdict": None}, "two clips and no verdict"),
        ({"video_b": None}, "one clip needs grade_a and no verdict"),
        ({"prompt": ""}, "prompt is '', not a text"),
        ({"video_a": "f" * 64}, "this clip is missing"),
    ],
    ids=str,
)
def test_a_row_that_is_no_label_is_refused(
    importing: Importer, change: dict[str, str], fact: str
) -> None:
    imported = importing("videoalign", "videoalign.csv")
    rows = [row | change for row in label_set.to_rows(imported.labels)]
    columns = dict(COLUMNS) | {"verdict": pa.string()}
    tables.write_rows(imported.output / "labels.parquet", rows, kind="Label", columns=columns)
    with pytest.raises(DataError, match=fact):
        label_set.read(imported.output)


def test_what_is_no_label_set_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no label set"):
        label_set.read(tmp_path)
    atomic.write_json(tmp_path / "labels.json", {"kind": "another"})
    with pytest.raises(DataError, match="holds 'another'"):
        label_set.read(tmp_path)


ODD = {
    "labels.json": (
        *("{", "[]", "", "[" * 100_000, '{"kind": "dualipo labels"}'),
        '{"kind": "dualipo labels", "imports": {}, "schema_version": 1}',
    ),
    "labels.parquet": ("", "PAR1 torn PAR1"),
}


@pytest.mark.parametrize("name", ODD)
def test_fault_97_a_set_with_an_odd_file_says_what_puts_it_right(tmp_path: Path, name: str) -> None:
    label_set.write(tmp_path, LabelSet(), history=[])
    for content in ODD[name]:
        (tmp_path / name).write_text(content)
        with pytest.raises(DataError, match=rf"{name}.*Restore it from a backup, or import"):
            label_set.read(tmp_path)
    (tmp_path / name).unlink()
    with pytest.raises(DataError, match=r"no such table\. Restore|this is no label set"):
        label_set.read(tmp_path)
