"""Turns the rows of files into labels, with their clips and their ids.

Each row becomes all of its labels or none. A label's id is a hash of its content, so a label that
the set already holds is counted and not added again.
"""

import hashlib
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, replace
from pathlib import Path

from dualipo import captions
from dualipo.errors import MediaError
from dualipo.preferences.importers.intake import Intake
from dualipo.preferences.importers.report import Report
from dualipo.preferences.importers.row import (
    Dropped,
    Format,
    Judged,
    Row,
    Settings,
    Unfit,
    Unused,
)
from dualipo.preferences.label_set import LabelSet
from dualipo.records import Pair, Point, Verdict
from dualipo.store import row_files
from dualipo.store.containers import UnreadableClip

Label = Pair | Point


class Collected:
    """The labels so far: those that the set had, and those of the rows read."""

    def __init__(
        self,
        form: Format,
        settings: Settings,
        intake: Intake,
        report: Report,
        before: LabelSet,
        *,
        strict: bool,
    ) -> None:
        self.form = form
        self.settings = settings
        self.intake = intake
        self.report = report
        self.by_id = {_id(label): label for label in before.every}
        self.ids_in_files: set[str] = set()
        self.strict = strict

    def labels(self) -> LabelSet:
        """Return the labels in the order in which they came."""
        return _set_of(self.by_id.values())

    def in_files(self) -> LabelSet:
        """Return the labels that the files hold, whether the set had them before or not."""
        return _set_of(self.by_id[label_id] for label_id in sorted(self.ids_in_files))

    def num_new_clips(self, before: LabelSet) -> int:
        """Count the clips that no earlier label names."""
        return len({*self.labels().clips} - {*before.clips})

    def read(self, files: Sequence[Path], on_row: Callable[[], None]) -> None:
        """Add the labels of all rows of the files."""
        for file in files:
            for line, row in (self.form.rows or row_files.rows)(file):
                self.take(file, line, row)
                on_row()

    def take(self, file: Path, line: int, row: Row | Unfit) -> None:
        """Add a row's labels, all or none of them."""
        self.report.num_rows += 1
        try:
            if isinstance(row, Unfit):
                raise row
            row = self._renamed(row)
            self._check_columns(row)
            judged = list(self.form.judge(row, self.settings))
            labels = [self._label(part) for part in judged if isinstance(part, Judged)]
        except UnreadableClip as bad:
            self.report.dropped.add(file, line, "a clip cannot be decoded", detail=str(bad))
            return
        except (Unfit, MediaError) as unfit:
            self.report.refused.add(file, line, str(unfit))
            return
        for part in [*judged, *labels]:
            if isinstance(part, Dropped):
                self.report.dropped.add(file, line, part.reason)
        self.report.not_kept.update(
            str(name) for name in row.keys() - self.form.used if row[name] not in (None, "", [], {})
        )
        self.report.not_kept.update({part.name for part in judged if isinstance(part, Unused)})
        self._add(file, line, [label for label in labels if not isinstance(label, Dropped)])

    def _renamed(self, row: Row) -> Row:
        """Give the columns that the user mapped the names that the format knows."""
        columns = {} if self.form.maps else self.settings.columns
        if missing := [name for name in columns.values() if name not in row]:
            raise Unfit(f"The row has no column {listed(missing)}, which --map names.")
        mapped = {name: row[column] for name, column in columns.items()}
        return {name: row[name] for name in row.keys() - set(columns.values())} | mapped

    def _check_columns(self, row: Row) -> None:
        form = self.form
        missing = [name for name in form.required if row.get(name) is None]
        if missing:
            raise Unfit(f"The row has no column {listed(missing)}.")
        for group in form.alternatives:
            if all(row.get(name) is None for name in group):
                raise Unfit(f"The row has none of the columns {listed(group)}.")
        unknown = sorted(map(str, row.keys() - form.used - {*form.not_kept}))
        if unknown and self.strict:
            raise Unfit(
                f"The row has the unknown column {listed(unknown)}. Remove it, or leave out "
                "--strict."
            )

    def _label(self, judged: Judged) -> Label | Dropped:
        """Complete a label with its prompt, its clips and its id."""
        record = judged.record
        if reason := captions.screen(record.prompt):
            return Dropped(f"caption: {reason}")
        record = replace(record, prompt=captions.tidy(record.prompt))
        if not record.prompt_id:
            record = replace(record, prompt_id=captions.prompt_id(record.prompt))
        clip_a = self.intake.take(judged.clip_a)
        if isinstance(record, Point):
            return _named(replace(record, video=clip_a))
        assert judged.clip_b is not None
        clip_b = self.intake.take(judged.clip_b)
        if clip_a == clip_b:
            return Dropped("both clips are the same")
        record = replace(record, video_a=clip_a, video_b=clip_b)
        # Ordered by hash, so that A is not always the winner (fault 67), and always the same way.
        is_turned = not judged.sides_known and clip_a > clip_b
        return _named(turned(record) if is_turned else record)

    def _add(self, file: Path, line: int, labels: list[Label]) -> None:
        for label in labels:
            if self.by_id.get(_id(label), label) != label:
                reason = (
                    f"The set holds another label with the id {_id(label)}. Give this one a new id."
                )
                self.report.refused.add(file, line, reason)
                return
        self.ids_in_files.update(_id(label) for label in labels)
        for label in labels:
            if _id(label) in self.by_id:
                self.report.num_known += 1
                continue
            self.by_id[_id(label)] = label
            self.report.num_pairs += isinstance(label, Pair)
            self.report.num_points += isinstance(label, Point)


def turned(pair: Pair) -> Pair:
    """Exchange A and B without a change of what the label says."""
    verdicts: dict[Verdict, Verdict] = {"a": "b", "b": "a"}
    return replace(
        pair,
        video_a=pair.video_b,
        video_b=pair.video_a,
        verdict=verdicts.get(pair.verdict, pair.verdict),
        reason_a=pair.reason_b,
        reason_b=pair.reason_a,
        grade_a=pair.grade_b,
        grade_b=pair.grade_a,
        votes_a=pair.votes_b,
        votes_b=pair.votes_a,
    )


def _set_of(labels: Iterable[Label]) -> LabelSet:
    """Return the labels as a set, in their order."""
    every = list(labels)
    return LabelSet(
        tuple(label for label in every if isinstance(label, Pair)),
        tuple(label for label in every if isinstance(label, Point)),
    )


def listed(columns: Sequence[str]) -> str:
    return ", ".join(f"`{name}`" for name in columns)


def _id(label: Label) -> str:
    return label.pair_id if isinstance(label, Pair) else label.point_id


def _named(label: Label) -> Label:
    """Give a label without an id one that is a hash of its content."""
    if _id(label):
        return label
    said = json.dumps(asdict(label), sort_keys=True)
    name = hashlib.sha256(said.encode()).hexdigest()[:16]
    if isinstance(label, Pair):
        return replace(label, pair_id=name)
    return replace(label, point_id=name)
