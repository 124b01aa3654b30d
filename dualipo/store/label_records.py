"""Readers of the label book: as standing answers, and as the native records of FORMATS.md.

A warm start takes the records of `read_labels` as its seed: pairs and points with `source =
"human"`, in the order in which they were given. A pair's A and B are those that the annotator saw,
for the reason may speak of them. Repeats and gold items measured the annotator and are left out; so
are points that abstained, for a grade has no such value. Two annotators of one item give two
records: what to do with a contradiction is the reader's decision (fault 41).
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dualipo.errors import DataError
from dualipo.records import OVERALL, Pair, Point, Source
from dualipo.store.label_tables import ANSWERS
from dualipo.store.labels import LabelBook, as_shown

SOURCE: Source = "human"


@dataclass(frozen=True, slots=True)
class StandingAnswer:
    """An answer that was not undone, with its item; outcomes are in the item's own A and B."""

    counter: int
    annotator: str
    task_id: str
    dimension: str
    outcome: str
    reason: str
    seconds: float
    is_swapped: bool
    is_repeat: bool
    item_id: str
    kind: str
    prompt_id: str
    caption: str
    clip_a: str
    clip_b: str
    origin_a: str
    origin_b: str
    round: int
    gold: Mapping[str, str]

    @property
    def label_id(self) -> str:
        """Name the record that the answer becomes."""
        return f"{self.task_id}-{self.dimension}"

    @property
    def is_test(self) -> bool:
        """Tell whether it was asked to measure the annotator."""
        return self.is_repeat or bool(self.gold)

    @property
    def shown_outcome(self) -> str:
        """Return the outcome in terms of the sides that the annotator saw."""
        return as_shown(self.outcome, self.is_swapped)


def answers(book: LabelBook) -> list[StandingAnswer]:
    """Read every answer that stands, in the order given."""
    standing = []
    for row in book.rows(ANSWERS):
        values = list(row)
        values[7:9] = map(bool, values[7:9])
        values[18] = json.loads(values[18]) if values[18] else {}
        standing.append(StandingAnswer(*values))
    return standing


def records(standing: list[StandingAnswer]) -> tuple[list[Pair], list[Point]]:
    """Turn answers into pairs and points, without those that measured the annotator."""
    labels = [answer for answer in standing if not answer.is_test]
    pairs = [_pair(label) for label in labels if label.kind == "pair"]
    graded = [label for label in labels if label.kind == "point" and label.outcome != "abstain"]
    return pairs, [_point(label) for label in graded if label.dimension != OVERALL]


def read_labels(path: Path) -> tuple[list[Pair], list[Point]]:
    """Read people's labels from the book at `path`, as records."""
    return records(read_answers(path))


def read_answers(path: Path) -> list[StandingAnswer]:
    """Read every answer that stands in the book at `path`."""
    if not path.is_file():
        raise DataError(f"{path}: no labels yet. Make some with `dualipo label`.")
    book = LabelBook(path, read_only=True)
    try:
        return answers(book)
    finally:
        book.close()


def _pair(label: StandingAnswer) -> Pair:
    clips = (label.clip_a, label.clip_b)
    verdict: Any = label.shown_outcome  # one of records.Verdict: the book checked it
    video_a, video_b = reversed(clips) if label.is_swapped else clips
    return Pair(
        pair_id=label.label_id,
        video_a=video_a,
        video_b=video_b,
        verdict=verdict,
        **_common_fields(label),
    )


def _point(label: StandingAnswer) -> Point:
    grade: Any = label.outcome  # one of records.Grade: the book checked it
    return Point(
        point_id=label.label_id,
        video=label.clip_a,
        grade=grade,
        **_common_fields(label),
    )


def _common_fields(label: StandingAnswer) -> dict[str, Any]:
    return {
        "prompt_id": label.prompt_id,
        "prompt": label.caption,
        "dimension": label.dimension,
        "source": SOURCE,
        "annotator_or_critic_version": label.annotator,
        "rationale": label.reason,
        "round": label.round,
        "counter": label.counter,
    }
