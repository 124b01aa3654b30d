"""The label book read back: as standing answers, and as the native records of FORMATS.md.

`read_labels` is what a warm start takes as its seed: pairs and points with `source = "human"`, in
the order in which they were given. A pair's A and B are those that the annotator saw, for the
reason may speak of them. Repeats and gold items measured the annotator and are left out;
so are points that abstained, for a grade has no such value. Two annotators of one item give two
records: what to do with a contradiction is the reader's decision (fault 41).
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dualipo.errors import DataError
from dualipo.records import DIMENSIONS, Pair, Point, Source
from dualipo.store.label_tables import ANSWERS
from dualipo.store.labels import LabelBook, as_shown

SOURCE: Source = "human"


@dataclass(frozen=True, slots=True)
class Given:
    """One standing answer with its item, in the item's own A and B."""

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
    def is_test(self) -> bool:
        """Whether it was asked to measure the annotator."""
        return self.is_repeat or bool(self.gold)

    @property
    def shown_outcome(self) -> str:
        """The outcome in terms of the sides that the annotator saw."""
        return as_shown(self.outcome, self.is_swapped)


def answers(book: LabelBook) -> list[Given]:
    """Every answer that stands, in the order given."""
    found = []
    for row in book.rows(ANSWERS):
        values = list(row)
        values[7:9] = map(bool, values[7:9])
        values[18] = json.loads(values[18]) if values[18] else {}
        found.append(Given(*values))
    return found


def records(given: list[Given]) -> tuple[list[Pair], list[Point]]:
    """Pairs and points of what was asked to learn from."""
    asked = [one for one in given if not one.is_test]
    pairs = [_pair(one) for one in asked if one.kind == "pair"]
    points = [_point(one) for one in asked if one.kind == "point" and one.outcome != "abstain"]
    return pairs, [point for point in points if point.dimension in DIMENSIONS]


def read_labels(path: Path) -> tuple[list[Pair], list[Point]]:
    """People's labels in the book at `path`, as records."""
    if not path.is_file():
        raise DataError(f"{path}: no labels yet. Make some with `dualipo label`.")
    book = LabelBook(path)
    try:
        return records(answers(book))
    finally:
        book.close()


def _pair(one: Given) -> Pair:
    clips = (one.clip_a, one.clip_b)
    video_a, video_b = reversed(clips) if one.is_swapped else clips
    told: dict[str, Any] = {"dimension": one.dimension, "verdict": one.shown_outcome}
    return Pair(
        pair_id=f"{one.task_id}-{one.dimension}",
        prompt_id=one.prompt_id,
        prompt=one.caption,
        video_a=video_a,
        video_b=video_b,
        source=SOURCE,
        annotator_or_critic_version=one.annotator,
        rationale=one.reason,
        round=one.round,
        counter=one.counter,
        **told,
    )


def _point(one: Given) -> Point:
    told: dict[str, Any] = {"dimension": one.dimension, "grade": one.outcome}
    return Point(
        point_id=f"{one.task_id}-{one.dimension}",
        prompt_id=one.prompt_id,
        prompt=one.caption,
        video=one.clip_a,
        source=SOURCE,
        annotator_or_critic_version=one.annotator,
        rationale=one.reason,
        round=one.round,
        counter=one.counter,
        **told,
    )
