"""Reads and writes label sets: labels with their clips, in one folder that a recipe can name.

    labels.parquet    the native record of FORMATS.md, one row a label
    clips/ab/<sha256>.mp4
    labels.json       the kind, the schema version, and what was imported from where

The label book of a run, which people filled on the page, stands for a label set where one is only
read (`read_source`). A row without `video_b` is a point, and `grade_a` its grade. Labels stand as
they were given: `contradictions.py` says which of them are usable. An older set is migrated when it
is read, and on disk, beside a backup, when it is next written (fault 40); a newer one is refused.
"""

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, get_args

from dualipo import text_files
from dualipo.errors import DataError
from dualipo.records import (
    DIMENSION_NAME,
    GRADES,
    LABELLED_DIMENSIONS,
    SCHEMA_VERSION,
    Order,
    Pair,
    Point,
    Source,
    Verdict,
)
from dualipo.store import atomic, label_records, tables
from dualipo.store.clips import ClipStore
from dualipo.store.label_tables import BOOK

KIND = "dualipo labels"
TABLE, MANIFEST, CLIPS = "labels.parquet", "labels.json", "clips"
TABLE_KIND = "Label"
RUN_MARKER = "run.json"
COLUMNS = tables.columns_of(Pair)

_RESTORE = "Restore it from a backup, or import the labels into another folder."
_ALLOWED: dict[str, set[Any]] = {
    "verdict": {*get_args(Verdict), None},
    "grade_a": {*GRADES, None},
    "grade_b": {*GRADES, None},
    "source": set(get_args(Source)),
    "order": set(get_args(Order)),
}
_TEXTS = ("pair_id", "prompt_id", "prompt", "video_a", "annotator_or_critic_version")

_REMARKS = ("rationale", "reason_a", "reason_b")
_NUMBERS = ("certainty", "round", "counter", "votes_a", "votes_b", "votes_tie", "votes_abstain")

Row = dict[str, Any]


@dataclass(frozen=True)
class LabelSet:
    """A set of pairs and points, as they were given."""

    pairs: tuple[Pair, ...] = ()
    points: tuple[Point, ...] = ()

    @property
    def every(self) -> list[Pair | Point]:
        """All labels, pairs before points."""
        return [*self.pairs, *self.points]

    @property
    def clips(self) -> list[str]:
        """The sha256 of every clip that a label names, sorted."""
        return sorted({clip for label in self.every for clip in clips_of(label)})


def clips_of(label: Pair | Point) -> tuple[str, ...]:
    """Return the sha256 of the clips that a label names."""
    return (label.video_a, label.video_b) if isinstance(label, Pair) else (label.video,)


def clip_store(path: Path) -> ClipStore:
    """Return the store of the clips in a label set, or beside a label book."""
    return ClipStore((path.parent if path.is_file() else path) / CLIPS)


def read(folder: Path) -> LabelSet:
    """Read a label set of this or an older schema; raise DataError where a clip is missing."""
    labels = read_labels(folder)
    _require_clips(labels, clip_store(folder), folder / TABLE)
    return labels


def read_labels(folder: Path) -> LabelSet:
    """Read the labels of a set, whether their clips are there or not."""
    read_manifest(folder)
    path = folder / TABLE
    return from_rows(tables.read_rows(path, kind=TABLE_KIND, restore=_RESTORE), subject=str(path))


def book_at(path: Path) -> Path | None:
    """Return the label book at `path` or of the run there; None where a label set is meant."""
    book = path if path.is_file() else path / BOOK
    if (path / MANIFEST).is_file():
        return None
    if not book.is_file() and (path / RUN_MARKER).is_file():
        raise DataError(f"{path}: nobody has labelled this run. Begin with `dualipo label {path}`.")
    return book if book.is_file() else None


def read_source(path: Path) -> LabelSet:
    """Read a label set, or the label book at `path` or of the run there."""
    labels = read_source_labels(path)
    book = book_at(path)
    _require_clips(labels, clip_store(book or path), book or path / TABLE)
    return labels


def read_source_labels(path: Path) -> LabelSet:
    """Read the labels of a set or of a label book, whether their clips are there or not."""
    book = book_at(path)
    if book is None:
        return read_labels(path)
    pairs, points = label_records.read_labels(book)
    return LabelSet(tuple(pairs), tuple(points))


def _require_clips(labels: LabelSet, store: ClipStore, subject: Path) -> None:
    for clip in labels.clips:
        path = store.path(clip)
        if not path.is_file():
            raise DataError(
                f"{path}: this clip is missing, but {subject} names it. Restore it, or take its "
                "labels off a label set with `dualipo labels drop LABELS --unreadable`."
            )


def read_manifest(folder: Path) -> Row:
    """Read `labels.json`; raise DataError where the folder is no label set, or a newer one."""
    path = folder / MANIFEST
    if not path.is_file():
        raise DataError(
            f"{folder}: this is no label set, for it has no {MANIFEST}. Make one with "
            "`dualipo import`, or name a run whose clips people labelled with `dualipo label`."
        )
    manifest: Row = text_files.read_json(path, remedy=_RESTORE, shape=dict)
    if manifest.get("kind") != KIND:
        raise DataError(
            f"{path}: it holds {manifest.get('kind')!r}, not {KIND!r}. Name another folder."
        )
    if not isinstance(manifest.get("imports"), list):
        raise DataError(f"{path}: its list of imports is missing. {_RESTORE}")
    _refuse_newer(path, manifest.get("schema_version"))
    return manifest


def write(folder: Path, labels: LabelSet, *, history: Sequence[Mapping[str, Any]]) -> None:
    """Publish the table, then the manifest; an older table is kept as a backup first."""
    _back_up(folder)
    tables.write_rows(folder / TABLE, to_rows(labels), kind=TABLE_KIND, columns=COLUMNS)
    manifest = {
        "kind": KIND,
        "schema_version": SCHEMA_VERSION,
        "num_pairs": len(labels.pairs),
        "num_points": len(labels.points),
        "imports": list(history),
    }
    atomic.write_json(folder / MANIFEST, manifest)


def _back_up(folder: Path) -> None:
    if not (folder / MANIFEST).is_file():
        return
    version = read_manifest(folder)["schema_version"]
    if version == SCHEMA_VERSION:
        return
    for name in (TABLE, MANIFEST):
        path = folder / name
        backup = path.with_name(f"{name}.v{version}.bak")
        if not backup.exists():
            with atomic.publish(backup) as temporary:
                shutil.copyfile(path, temporary)


def to_rows(labels: LabelSet) -> list[Row]:
    """Turn the labels into native rows, pairs first."""
    return [asdict(pair) for pair in labels.pairs] + [_point_row(p) for p in labels.points]


def from_rows(rows: Sequence[Row], *, subject: str) -> LabelSet:
    """Turn native rows of any schema version up to this one into labels."""
    pairs, points = [], []
    for number, row in enumerate(rows, start=1):
        record = from_row(row, subject=f"{subject}: row {number}")
        if isinstance(record, Pair):
            pairs.append(record)
        else:
            points.append(record)
    return LabelSet(tuple(pairs), tuple(points))


def from_row(row: Row, *, subject: str) -> Pair | Point:
    """Migrate and check one native row; `subject` begins the error's message."""
    row = _migrated(dict(row), subject)
    if strange := row.keys() ^ COLUMNS.keys():
        raise DataError(
            f"{subject}: the columns {sorted(strange)} are missing or unknown. Correct the row."
        )
    for name, allowed in _ALLOWED.items():
        if not isinstance(row[name], str | None) or row[name] not in allowed:
            known = ", ".join(sorted(str(value) for value in allowed if value))
            raise DataError(
                f"{subject}: {name} is {row[name]!r}, not one of {known}. Correct the row."
            )
    if not isinstance(row["dimension"], str) or not DIMENSION_NAME.fullmatch(row["dimension"]):
        raise DataError(
            f"{subject}: dimension is {row['dimension']!r}, no name of a dimension, such as "
            f"{', '.join(LABELLED_DIMENSIONS)}. Correct the row."
        )
    for name in _TEXTS:
        if not isinstance(row[name], str) or (not row[name] and name != _TEXTS[-1]):
            raise DataError(f"{subject}: {name} is {row[name]!r}, not a text. Correct the row.")
    _require_kinds(row, subject)
    if row["video_b"] is None:
        return _point(row, subject)
    if row["verdict"] is None:
        raise DataError(f"{subject}: it has two clips and no verdict. Correct the row.")
    return Pair(**row)


def _require_kinds(row: Row, subject: str) -> None:
    """Refuse fields of another kind, which no table could hold."""
    for name in _REMARKS:
        if not isinstance(row[name], str):
            raise DataError(f"{subject}: {name} is {row[name]!r}, not a text. Correct the row.")
    for name in _NUMBERS:
        number = row[name]
        is_number = isinstance(number, int | float) and not isinstance(number, bool)
        if not is_number or not abs(number) < 2**31 or (name != "certainty" and number % 1):
            raise DataError(f"{subject}: {name} is {number!r}, not such a number. Correct the row.")
    if not isinstance(row["video_b"], str | None):
        raise DataError(f"{subject}: video_b is {row['video_b']!r}, no clip. Correct the row.")


def _point(row: Row, subject: str) -> Point:
    if row["grade_a"] is None or row["verdict"] is not None:
        raise DataError(
            f"{subject}: a label of one clip needs grade_a and no verdict. Correct the row."
        )
    row = row | {"point_id": row["pair_id"], "video": row["video_a"], "grade": row["grade_a"]}
    return Point(**{name: row[name] for name in tables.columns_of(Point)})


def _point_row(point: Point) -> Row:
    blank: Row = dict.fromkeys(COLUMNS) | {"reason_a": "", "reason_b": "", "order": "ab"}
    blank |= dict.fromkeys(("votes_a", "votes_b", "votes_tie", "votes_abstain"), 0)
    row = blank | {name: value for name, value in asdict(point).items() if name in COLUMNS}
    return row | {"pair_id": point.point_id, "video_a": point.video, "grade_a": point.grade}


def _with_reasons(row: Row) -> Row:
    """Add what version 0 of FORMATS.md did not have: the reason and the grade of each clip."""
    return {"reason_a": "", "reason_b": "", "grade_a": None, "grade_b": None} | row


# From version N to N + 1, row by row.
MIGRATIONS: dict[int, Callable[[Row], Row]] = {0: _with_reasons}


def _migrated(row: Row, subject: str) -> Row:
    version = row.get("schema_version", 0)
    _refuse_newer(subject, version)
    for step in range(version, SCHEMA_VERSION):
        row = MIGRATIONS[step](row)
    return row | {"schema_version": SCHEMA_VERSION}


def _refuse_newer(subject: Path | str, version: Any) -> None:
    if not isinstance(version, int) or not 0 <= version <= SCHEMA_VERSION:
        raise DataError(
            f"{subject}: its schema version is {version}, but this program knows "
            f"{SCHEMA_VERSION}. Use the newer dualipo that wrote it."
        )
