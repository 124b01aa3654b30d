"""The events of an evaluation suite such as VBench; all others are in `events`."""

from dataclasses import dataclass
from typing import Any

from dualipo.event_json import Inline
from dualipo.event_parts import SuiteDimension
from dualipo.events import Event


@dataclass(frozen=True, kw_only=True)
class SuiteDimensionEvent(Event):
    """One dimension of a suite's score of a version, and each scored clip's result by its name."""

    score: Inline[SuiteDimension]
    by_clip: dict[str, float]


@dataclass(frozen=True, kw_only=True)
class SuiteEvent(Event):
    """A suite's score of a version, and how it was made; it compares within one run alone.

    The totals are in points of 100, and None where a dimension is missing. `sampled_with` holds
    what the clips were made with, `scored_with` the suite's device and versions of packages.
    """

    source: str
    version: str
    total: float | None
    quality: float | None
    semantic: float | None
    dimensions: list[SuiteDimension]
    prompts_hash: str
    num_prompts: int
    sampled_with: dict[str, Any]
    scored_with: dict[str, str]
