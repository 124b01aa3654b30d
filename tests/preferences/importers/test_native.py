"""Tests the import of native records that other programs wrote, by hand or in JSON Lines."""

import json
from pathlib import Path

import pytest

from dualipo.errors import DataError
from dualipo.preferences import label_set
from dualipo.store import atomic
from tests.preferences.conftest import Importer


@pytest.fixture
def written(root: Path) -> dict[str, object]:
    """Make the smallest record that FORMATS.md allows, with its clip in place."""
    content = (root / "videos/1_A.mp4").read_bytes()
    sha256 = atomic.sha256_file(root / "videos/1_A.mp4")
    atomic.write_bytes(root / "clips" / sha256[:2] / f"{sha256}.mp4", content)
    return {
        "point_id": "x1",
        "prompt_id": "p1",
        "prompt": "a cat",
        "video": sha256,
        "dimension": "motion",
        "grade": "bad",
        "source": "simulated",
        "annotator_or_critic_version": "ada",
    }


def put(root: Path, *rows: dict[str, object]) -> None:
    (root / "native.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def test_a_record_by_hand_keeps_its_ids_and_its_source(
    importing: Importer, root: Path, written: dict[str, object]
) -> None:
    put(root, written)
    (point,) = importing("native", "native.jsonl").labels.points
    assert (point.point_id, point.prompt_id, point.source) == ("x1", "p1", "simulated")
    assert (point.grade, point.rationale, point.certainty) == ("bad", "", 1.0)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"video": "ab"}, "'ab' is not a clip's sha256"),
        ({"video": "../" * 21 + "x"}, "is not a clip's sha256"),
        ({"video": "0" * 64}, "does not exist"),
        ({"grade": "superb"}, "grade_a is 'superb'"),
        ({"schema_version": 9}, "schema version is 9, but this program knows 1"),
        ({"schema_version": "1"}, "schema version is 1, but this program knows"),
    ],
    ids=str,
)
def test_fault_39_a_record_that_is_none_is_refused(
    importing: Importer,
    root: Path,
    written: dict[str, object],
    change: dict[str, object],
    reason: str,
) -> None:
    put(root, written | change)
    with pytest.raises(DataError, match="Nothing was imported") as refusal:
        importing("native", "native.jsonl")
    assert reason in str(refusal.value)


def test_a_clip_that_is_not_what_its_name_says_is_refused(
    importing: Importer, root: Path, written: dict[str, object]
) -> None:
    path = label_set.clip_store(root).path(str(written["video"]))
    path.write_bytes((root / "videos/1_B.mp4").read_bytes())
    put(root, written)
    with pytest.raises(DataError, match="its content is not what its label names"):
        importing("native", "native.jsonl")


def test_one_id_says_one_thing(importing: Importer, root: Path, written: dict[str, object]) -> None:
    put(root, written, written | {"grade": "good"})
    with pytest.raises(DataError, match="holds another label with the id x1"):
        importing("native", "native.jsonl")
    put(root, written, written)
    assert importing("native", "native.jsonl").report.num_known == 1
