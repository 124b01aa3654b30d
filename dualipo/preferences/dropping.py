"""Takes labels off a label set: those that are named, and those whose clips cannot be decoded.

A name is a label's id, or a clip's sha256 or the path of its file, which stand for all labels of
that clip. The table is published first; clips that no label names any more are removed after it,
and what a kill leaves of them is swept by the next import or drop.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from dualipo.errors import DataError, MediaError
from dualipo.preferences import label_set
from dualipo.preferences.importers.load import sweep
from dualipo.preferences.label_set import LabelSet
from dualipo.records import Pair, Point
from dualipo.store.lock import Lock

LEAST_DIGITS = 8  # of a hash that is cut short


@dataclass(frozen=True)
class Dropped:
    """The labels that were taken off, those that are left, and why clips could not be decoded."""

    labels: list[Pair | Point]
    left: LabelSet
    unreadable: Mapping[str, str]


def unreadable(folder: Path) -> dict[str, str]:
    """Decode every clip of a set; return what is wrong by the hash of each one that cannot be."""
    store = label_set.clip_store(folder)
    faults = {}
    for clip in label_set.read_labels(folder).clips:
        try:
            store.examine(clip)
        except MediaError as fault:
            faults[clip] = str(fault)
    return faults


def drop(
    folder: Path, names: Sequence[str], *, and_unreadable: bool = False, dry_run: bool = False
) -> Dropped:
    """Take labels off a set; a name that stands for no label is a DataError, and changes nothing.

    `and_unreadable` takes off all labels of clips that cannot be decoded as well.
    """
    label_set.read_manifest(folder)
    lock = Lock.acquire(folder / "LOCK")
    try:
        labels = label_set.read_labels(folder)
        faults = unreadable(folder) if and_unreadable else {}
        gone = _named(labels, names, folder) | _of_clips(labels, faults)
        left = LabelSet(
            tuple(pair for pair in labels.pairs if pair.pair_id not in gone),
            tuple(point for point in labels.points if point.point_id not in gone),
        )
        dropped = [label for label in labels.every if _id(label) in gone]
        if dropped and not dry_run:
            entry = {"format": "drop", "names": [*names, *faults], "num_labels": len(dropped)}
            history = label_set.read_manifest(folder)["imports"]
            label_set.write(folder, left, history=[*history, entry])
            sweep(folder, left)
        return Dropped(dropped, left, faults)
    finally:
        lock.release()


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
