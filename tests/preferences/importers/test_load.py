"""Tests that an import is whole or nothing, whatever is wrong, and that a second adds nothing."""

import json
import os
from pathlib import Path

import pytest

from dualipo.errors import ConfigError, DataError, RunLocked
from dualipo.preferences import label_set
from dualipo.preferences.importers.collect import turned
from dualipo.preferences.importers.formats import FORMATS
from dualipo.preferences.importers.load import import_labels
from dualipo.preferences.importers.row import Settings
from dualipo.store import atomic, row_files
from dualipo.store.lock import Lock
from tests.preferences.conftest import Importer, pair, tree
from tests.store.odd_clips import edit, garbled, make

FILES = {
    "trl": "trl.jsonl",
    "trl-kto": "trl-kto.jsonl",
    "videoalign": "videoalign.csv",
    "visionreward": "visionreward.jsonl",
    "videofeedback": "videofeedback.json",
    "hpdv3": "hpdv3.json",
    "diffusion-kto": "diffusion-kto.csv",
    "lift": "lift.json",
    "label-studio": "label-studio.json",
}
GOOD = '{"prompt": "A cat.", "completion": "videos/1_A.mp4", "label": true}\n'


def spoil(root: Path, **changes: object) -> None:
    """Give trl-kto.jsonl a second row with these changes."""
    row = {"prompt": "A cat.", "completion": "videos/1_B.mp4", "label": False} | changes
    row = {name: value for name, value in row.items() if value is not ...}
    (root / "trl-kto.jsonl").write_text(GOOD + json.dumps(row) + "\n")


HUMAN = Settings("human")


@pytest.mark.parametrize("format_name", FILES)
def test_a_second_import_adds_nothing(importing: Importer, format_name: str) -> None:
    settings = HUMAN if FORMATS[format_name].source is None else None
    options = {"settings": settings, "images": FORMATS[format_name].images}
    first = importing(format_name, FILES[format_name], **options)
    before = tree(first.output)
    again = importing(format_name, FILES[format_name], **options)
    assert again.report.num_pairs == again.report.num_points == again.report.num_clips == 0
    assert again.report.num_known == len(first.labels.every) > 0
    assert tree(first.output) == before


def test_another_format_adds_to_the_same_set(importing: Importer) -> None:
    align = importing("videoalign", "videoalign.csv")
    both = importing("lift", "lift.json")
    assert both.labels.pairs == align.labels.pairs and len(both.labels.points) == 3
    assert both.report.num_clips == 0
    history = label_set.read_manifest(both.output)["imports"]
    assert [entry["format"] for entry in history] == ["videoalign", "lift"]
    assert history[0]["dropped"] == {"MQ is `invalid`": 1}


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"label": ...}, "The row has no column `label`."),
        ({"label": "maybe"}, "`label` is 'maybe', none of True, true, False, false"),
        ({"label": 1}, "`label` is 1, none of"),
        ({"prompt": 7}, "`prompt` is 7, not a text"),
        ({"completion": "videos/none.mp4"}, "The clip 'videos/none.mp4' does not exist."),
        ({"source": "oracle"}, "none of human, simulated, critic"),
    ],
    ids=str,
)
def test_fault_39_a_row_that_does_not_fit_stops_the_import(
    importing: Importer, root: Path, tmp_path: Path, changes: dict[str, object], reason: str
) -> None:
    spoil(root, **changes)
    before = tree(tmp_path)
    with pytest.raises(DataError, match=r"1 rows do not fit\. Correct them") as refusal:
        importing("trl-kto", "trl-kto.jsonl", settings=HUMAN)
    assert reason in str(refusal.value) and "refused  trl-kto.jsonl:2: " in str(refusal.value)
    assert tree(tmp_path) == before and not (tmp_path / "labels").exists()
    dry = importing("trl-kto", "trl-kto.jsonl", settings=HUMAN, dry_run=True).report
    assert dry.refused.num == 1 and "would take: 0 pairs and 1 points" in dry.text()
    assert tree(tmp_path) == before
    lenient = importing("trl-kto", "trl-kto.jsonl", settings=HUMAN, lenient=True)
    assert [p.grade for p in lenient.labels.points] == ["good"]


def test_fault_81_a_clip_that_cannot_be_decoded_is_dropped_with_its_reason(
    importing: Importer, root: Path
) -> None:
    """Import a clip whose header is whole and whose frames are noise: only decoding tells."""
    (root / "videos" / "1_B.mp4").write_bytes(garbled(make()))
    report = importing("videoalign", "videoalign.csv", dry_run=True).report
    imported = importing("videoalign", "videoalign.csv")
    assert imported.report.text().replace("taken", "would take") == report.text()
    assert imported.report.refused.num == 0
    assert imported.report.dropped.reasons["a clip cannot be decoded"] == 1
    [told] = [line for line in imported.report.dropped.first if "decoded" in line]
    assert "videoalign.csv:2: a clip cannot be decoded (" in told and "1_B.mp4: not read" in told
    assert {pair.prompt for pair in imported.labels.pairs} == {"A dog runs over two lines."}
    stored = [path for path in imported.output.rglob("*") if path.is_file()]
    assert len([path for path in stored if path.suffix == ".mp4"]) == 2
    assert not any(path.suffix == ".part" for path in stored)
    for name in ("1_A", "2_A", "2_B"):
        (root / "videos" / f"{name}.mp4").write_bytes(b"no film")
    with pytest.raises(DataError, match="no row holds a label to take"):
        importing("videoalign", "videoalign.csv", output=root / "other")


def test_fault_80_what_was_corrected_is_counted(importing: Importer, root: Path) -> None:
    (root / "videos" / "1_A.mp4").write_bytes(make(matrix=(0, 1, -1, 0)))
    (root / "videos" / "1_B.mp4").write_bytes(make(matrix=(0, 1, -1, 0), num=9))
    (root / "videos" / "2_A.mp4").write_bytes(edit(make(), seconds=0.5, first=6))
    text = importing("videoalign", "videoalign.csv").report.text()
    assert "read as a player shows them: turned upright (2), trimmed by its edit list (1)" in text
    assert "size    32x48 (2)" in text and "48x32 (1)" in text and "6 (1)" in text


def test_fault_39_no_half_of_a_row_is_taken(importing: Importer, root: Path) -> None:
    path = root / "videoalign.csv"
    path.write_text(path.read_text().replace("A,same,B,", "A,same,better,"))
    imported = importing("videoalign", "videoalign.csv", lenient=True)
    assert imported.report.refused.first == [
        "videoalign.csv:2: `TA` is 'better', none of A, B, same, invalid."
    ]
    assert {p.prompt for p in imported.labels.pairs} == {"A dog runs over two lines."}


def test_fault_39_a_refused_import_leaves_an_older_set_as_it_was(
    importing: Importer, root: Path
) -> None:
    output = importing("videoalign", "videoalign.csv").output
    before = tree(output)
    spoil(root, label="maybe")
    with pytest.raises(DataError):
        importing("trl-kto", "trl-kto.jsonl", settings=HUMAN)
    assert tree(output) == before


@pytest.mark.slow
def test_fault_39_a_killed_import_is_swept_and_repeated(
    importing: Importer, root: Path, tmp_path: Path
) -> None:
    output = tmp_path / "killed"
    clean = tree(importing("videoalign", "videoalign.csv").output)
    for hit in range(1, 60):
        child = os.fork()
        if child == 0:
            killed_at(hit, root, output)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        if output.is_dir() and (output / label_set.MANIFEST).is_file():
            label_set.read(output)  # whole, whatever it holds
        importing("videoalign", "videoalign.csv", output=output)
        assert tree(output) == clean
        if status == 0:
            assert hit > 8
            return
        for path in sorted(output.rglob("*"), reverse=True):
            path.rmdir() if path.is_dir() else path.unlink()
    raise AssertionError("it never came to its end")


def killed_at(hit: int, root: Path, output: Path) -> None:
    """Import in a child process, and die at a failpoint."""
    from dualipo import failpoints

    failpoints.arm(f"kill@{hit}")
    try:
        import_labels("videoalign", [root / "videoalign.csv"], root=root, output=output)
    finally:
        os._exit(0)


def test_a_caption_that_no_model_should_be_fed_is_dropped(importing: Importer, root: Path) -> None:
    spoil(root, prompt="a cat \u202e tac")
    imported = importing("trl-kto", "trl-kto.jsonl", settings=HUMAN)
    assert len(imported.labels.points) == 1
    (reason,) = imported.report.dropped.reasons
    assert reason == "caption: a zero-width or direction character (U+202E)"


@pytest.mark.parametrize("format_name", FILES)
def test_a_column_that_is_not_used_is_listed_and_only_refused_if_strict(
    importing: Importer, root: Path, format_name: str
) -> None:
    # The origins' readers take the columns they know and never look at others.
    settings = HUMAN if FORMATS[format_name].source is None else None
    options = {"settings": settings, "images": FORMATS[format_name].images}
    path = root / FILES[format_name]
    table = row_files.rows(path)
    rows = [row | {"watermark": "yes"} for _, row in table if isinstance(row, dict)]
    plain = importing(format_name, path.name, **options)
    (root / "more.json").write_text(json.dumps(rows))
    more = importing(format_name, "more.json", **options)
    assert more.report.not_kept == plain.report.not_kept | {"watermark": len(rows)}
    assert more.report.num_pairs == more.report.num_points == 0 < more.report.num_known
    with pytest.raises(DataError, match="the unknown column `watermark`"):
        importing(format_name, "more.json", strict=True, **options)


def test_an_import_that_takes_nothing_is_refused(importing: Importer, root: Path) -> None:
    rows = [{"file_path": "images/0.jpg", "caption": "A castle", "label": "intersections"}]
    (root / "none.json").write_text(json.dumps(rows))
    (root / "empty.json").write_text("[]")
    for name, fact in (("none", "no row holds a label"), ("empty", "the files hold no row")):
        for lenient in (False, True):
            with pytest.raises(DataError, match=fact):
                importing("diffusion-kto", f"{name}.json", lenient=lenient)
        dry = importing("diffusion-kto", f"{name}.json", dry_run=True).report
        assert fact in dry.objection


def test_columns_of_other_names_are_mapped(importing: Importer, root: Path) -> None:
    spoil(root)
    path = root / "trl-kto.jsonl"
    path.write_text(path.read_text().replace('"prompt"', '"words"'))
    mapped = Settings("human", columns={"prompt": "words"})
    assert len(importing("trl-kto", path.name, settings=mapped).labels.points) == 2
    with pytest.raises(ConfigError, match="knows no `caption`"):
        importing("trl-kto", path.name, settings=Settings("human", columns={"caption": "words"}))


def test_one_import_at_a_time(importing: Importer, tmp_path: Path) -> None:
    output = tmp_path / "labels"
    output.mkdir()
    lock = Lock.acquire(output / "LOCK")
    with pytest.raises(RunLocked):
        importing("videoalign", "videoalign.csv")
    lock.release()
    importing("videoalign", "videoalign.csv")


def test_a_folder_in_use_is_left_alone(importing: Importer, tmp_path: Path) -> None:
    output = tmp_path / "labels"
    atomic.write_text(output / "clips/ab/own.mp4", "mine")
    with pytest.raises(ConfigError, match=r"in use, but is no label set\. Name another"):
        importing("videoalign", "videoalign.csv")
    assert tree(output).keys() == {"clips/ab/own.mp4"}


def test_a_linked_clip_shares_the_file(importing: Importer, root: Path) -> None:
    imported = importing("videoalign", "videoalign.csv", link=True)
    linked = label_set.clip_store(imported.output).path(imported.labels.pairs[0].video_a)
    assert linked.stat().st_ino == (root / "videos" / "1_A.mp4").stat().st_ino


def test_turning_a_pair_twice_changes_nothing() -> None:
    label = pair(0, votes_a=3, votes_b=1, grade_a="good", reason_b="dark")
    assert turned(turned(label)) == label
    assert (turned(label).verdict, turned(label).votes_b) == ("b", 3)
    assert turned(label).reason_a == "dark"
