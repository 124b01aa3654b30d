"""Takes labels off a label set or book: those named, and those whose clips cannot be decoded.

A name is a label's id, or a clip's sha256 or the path of its file, which stand for all labels of
that clip. A set's table is published first; clips that no label names any more are removed after
it, and what a kill leaves of them is swept by the next import or drop. In a book, where people's
answers stand in the order given, an answer is marked as withdrawn, and nobody is asked again.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from dualipo.errors import DataError, MediaError
from dualipo.preferences import label_set
from dualipo.preferences.importers.load import sweep
from dualipo.preferences.label_set import LabelSet
from dualipo.records import Pair, Point
from dualipo.store import label_records
from dualipo.store.labels import LabelBook
from dualipo.store.lock import Lock

LEAST_DIGITS = 8  # of a hash that is cut short


@dataclass(frozen=True)
class Dropped:
    """The labels that were taken off, those that are left, and why clips could not be decoded."""

    labels: list[Pair | Point]
    left: LabelSet
    unreadable: Mapping[str, str]


def unreadable(folder: Path) -> dict[str, str]:
    """Decode every clip of a set or book; return what is wrong by the hash of each unread one."""
    store = label_set.clip_store(folder)
    faults = {}
    for clip in label_set.read_source_labels(folder).clips:
        try:
            store.examine(clip)
        except MediaError as fault:
            faults[clip] = str(fault)
    return faults


def drop(
    folder: Path, names: Sequence[str], *, and_unreadable: bool = False, dry_run: bool = False
) -> Dropped:
    """Take labels off a set; a name that stands for no label is a DataError, and changes nothing.

    `folder` may be a label book too, or the run that has one. `and_unreadable` takes off all labels
    of clips that cannot be decoded as well.
    """
    book = label_set.book_at(folder)
    if book is not None:
        dropped, _ = _chosen(folder, names, and_unreadable)
        if not dry_run:
            _withdraw(book, dropped.labels)
        return dropped
    label_set.read_manifest(folder)
    lock = Lock.acquire(folder / "LOCK")
    try:
        dropped, names = _chosen(folder, names, and_unreadable)
        if dropped.labels and not dry_run:
            entry = {"format": "drop", "names": names, "num_labels": len(dropped.labels)}
            history = label_set.read_manifest(folder)["imports"]
            label_set.write(folder, dropped.left, history=[*history, entry])
            sweep(folder, dropped.left)
        return dropped
    finally:
        lock.release()


def _chosen(folder: Path, names: Sequence[str], and_unreadable: bool) -> tuple[Dropped, list[str]]:
    """Choose the labels to drop; return them with all names that they were dropped by."""
    labels = label_set.read_source_labels(folder)
    faults = unreadable(folder) if and_unreadable else {}
    gone = _named(labels, names, folder) | _of_clips(labels, faults)
    left = LabelSet(
        tuple(pair for pair in labels.pairs if pair.pair_id not in gone),
        tuple(point for point in labels.points if point.point_id not in gone),
    )
    dropped = [label for label in labels.every if _id(label) in gone]
    return Dropped(dropped, left, faults), [*names, *faults]


def _withdraw(book: Path, labels: Sequence[Pair | Point]) -> None:
    ids = {_id(label) for label in labels}
    opened = LabelBook(book)
    try:
        standing = label_records.answers(opened)
        opened.withdraw([answer.counter for answer in standing if answer.label_id in ids])
    finally:
        opened.close()


def _named(labels: LabelSet, names: Sequence[str], folder: Path) -> set[str]:
    """Return the ids of the labels that the names stand for."""
    ids = {_id(label) for label in labels.every}
    gone: set[str] = set()
    for name in names:
        named = Path(name).stem
        matching = [
            clip for clip in labels.clips if len(named) >= LEAST_DIGITS and clip.startswith(named)
        ]
        own = ({name} & ids) or _of_clips(labels, matching)
        if not own:
            raise DataError(
                f"{folder}: no label has the id {name!r}, and no clip that hash. Nothing was "
                "dropped. `dualipo labels check` lists the clips that cannot be decoded."
            )
        gone |= own
    return gone


def _of_clips(labels: LabelSet, clips_named: Collection[str]) -> set[str]:
    """Return the ids of the labels of these clips."""
    named = {*clips_named}
    return {_id(label) for label in labels.every if named & {*label_set.clips_of(label)}}


def _id(label: Pair | Point) -> str:
    return label.pair_id if isinstance(label, Pair) else label.point_id
