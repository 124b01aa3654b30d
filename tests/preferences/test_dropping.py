"""Labels are taken off a set by name, by clip, or because their clip cannot be decoded."""

from dataclasses import replace
from pathlib import Path

import pytest

from dualipo.cli import main
from dualipo.errors import DataError
from dualipo.preferences import dropping, label_set
from dualipo.store import atomic, label_records
from dualipo.store.labels import Answer, Choice, LabelBook, LabelItem
from tests.preferences.conftest import Importer, tree
from tests.store.odd_clips import garbled, make


@pytest.fixture
def labels(importing: Importer) -> Path:
    """Return a set of two captions with two clips each; six pairs."""
    return importing("videoalign", "videoalign.csv").output


def stored(folder: Path) -> list[str]:
    return sorted(path.stem for path in (folder / "clips").rglob("*.mp4"))


def test_fault_81_a_label_is_dropped_by_its_id(labels: Path) -> None:
    pairs = label_set.read(labels).pairs
    dropped = dropping.drop(labels, [pairs[0].pair_id])
    assert [label.pair_id for label in dropped.labels] == [pairs[0].pair_id]  # type: ignore[union-attr]
    assert label_set.read(labels).pairs == dropped.left.pairs == pairs[1:]
    assert len(stored(labels)) == 4  # another label names them
    assert label_set.read_manifest(labels)["imports"][-1] == {
        "format": "drop",
        "names": [pairs[0].pair_id],
        "num_labels": 1,
    }


@pytest.mark.parametrize("spelled", ["hash", "beginning", "file"])
def test_fault_81_a_clip_stands_for_its_labels(labels: Path, spelled: str) -> None:
    before = label_set.read(labels)
    clip = before.pairs[0].video_a
    path = label_set.clip_store(labels).path(clip)
    name = {"hash": clip, "beginning": clip[:12], "file": str(path)}[spelled]
    was = tree(labels)
    assert dropping.drop(labels, [name], dry_run=True).labels
    assert {n: h for n, h in tree(labels).items() if n != "LOCK"} == was
    left = dropping.drop(labels, [name]).left
    assert left.every and all(clip not in label_set.clips_of(label) for label in left.every)
    assert stored(labels) == left.clips


def test_fault_81_what_cannot_be_decoded_or_is_missing_is_found_and_dropped(
    labels: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main.main(["labels", "check", str(labels)]) == 0
    first, second = (
        label_set.read(labels).pairs[0].video_a,
        label_set.read(labels).pairs[-1].video_b,
    )
    store = label_set.clip_store(labels)
    store.path(first).write_bytes(garbled(make()))
    store.path(second).unlink()
    assert main.main(["labels", "check", str(labels)]) == 1
    told = capsys.readouterr().out
    assert "2 clips cannot be decoded" in told and "not what its name says" in told
    with pytest.raises(DataError, match="dualipo labels drop"):
        label_set.read(labels)
    assert main.main(["labels", "drop", str(labels), "--unreadable"]) == 0
    assert "labels dropped, " in capsys.readouterr().out
    assert not {first, second} & {*label_set.read(labels).clips}
    assert main.main(["labels", "check", str(labels)]) == 0


def test_fault_81_a_clip_whose_frames_are_noise_is_found_by_decoding(labels: Path) -> None:
    """Give a clip of noise the hash of what it holds, so that only decoding tells."""
    set_before = label_set.read(labels)
    content = garbled(make())
    bad = labels / "bad.mp4"
    bad.write_bytes(content)
    clip = atomic.sha256_file(bad)
    path = label_set.clip_store(labels).path(clip)
    path.parent.mkdir(exist_ok=True)
    bad.rename(path)
    spoilt = label_set.LabelSet((*set_before.pairs[1:], replace(set_before.pairs[0], video_a=clip)))
    label_set.write(labels, spoilt, history=())
    assert [*dropping.unreadable(labels)] == [clip]
    assert dropping.drop(labels, [], and_unreadable=True).left.pairs == set_before.pairs[1:]


def test_fault_81_a_name_of_nothing_changes_nothing(labels: Path) -> None:
    was = tree(labels)
    for name in ("none", "0" * 64, ""):
        with pytest.raises(DataError, match="no label has the id"):
            dropping.drop(labels, [label_set.read(labels).pairs[0].pair_id, name])
    assert {n: h for n, h in tree(labels).items() if n != "LOCK"} == was
    assert main.main(["labels", "drop", str(labels)]) == 2
    assert main.main(["labels", "drop", str(labels.parent), "x"]) == 2


def test_fault_81_a_label_leaves_a_runs_book_and_its_question_is_not_asked_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    book = LabelBook(tmp_path / "labels.sqlite", dimensions=("motion",))
    for prompt in ("p0", "p1"):
        book.add_items([LabelItem.of_pair(prompt, "a ball", {f"{prompt}x" * 8: "", "y" * 64: ""})])

    def choose(_: str, position: int, items: object) -> Choice | None:
        known = sorted(item.item_id for item in book.queue_items("ada"))
        return Choice(known[position], False, False) if position < len(known) else None

    for task in book.open_tasks("ada", choose=choose):
        book.answer("ada", Answer(task.task_id, "motion", "a"), key=task.task_id)
    first, second = label_records.answers(book)
    assert main.main(["labels", "drop", str(tmp_path), first.label_id]) == 0
    assert "1 labels dropped, 1 left" in capsys.readouterr().out
    assert label_records.answers(book) == [second]
    assert book.open_tasks("ada", choose=choose) == []
    assert main.main(["labels", "drop", str(book.path), "p1x" * 3]) == 0
    assert label_records.answers(book) == []
    book.close()
