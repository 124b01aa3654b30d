"""VBench's sixteen dimensions, and how their scores become Quality, Semantic and Total.

METHOD.md section 6. Each raw score becomes (raw - low) / (high - low), without clipping. Quality is
the weighted mean of seven, with half a weight for dynamic degree; Semantic is the mean of nine;
Total is (4 Quality + Semantic) / 5. Totals are in points of 100.

VBench's own script gives a missing dimension the raw score 0. Here it is refused by name. A subset
of dimensions has a total of its own by the same weights, which compares within one run only.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from dualipo.errors import DataError


@dataclass(frozen=True)
class Scale:
    """A dimension's raw scores that count as 0 and as 1, and its weight in its group's mean."""

    low: float
    high: float
    weight: float = 1.0


QUALITY: dict[str, Scale] = {
    "subject_consistency": Scale(0.1462, 1.0),
    "background_consistency": Scale(0.2615, 1.0),
    "temporal_flickering": Scale(0.6293, 1.0),
    "motion_smoothness": Scale(0.706, 0.9975),
    "dynamic_degree": Scale(0.0, 1.0, weight=0.5),
    "aesthetic_quality": Scale(0.0, 1.0),
    "imaging_quality": Scale(0.0, 1.0),
}
SEMANTIC: dict[str, Scale] = {
    "object_class": Scale(0.0, 1.0),
    "multiple_objects": Scale(0.0, 1.0),
    "human_action": Scale(0.0, 1.0),
    "color": Scale(0.0, 1.0),
    "spatial_relationship": Scale(0.0, 1.0),
    "scene": Scale(0.0, 0.8222),
    "appearance_style": Scale(0.0009, 0.2855),
    "temporal_style": Scale(0.0, 0.364),
    "overall_consistency": Scale(0.0, 0.364),
}
DIMENSIONS = (*QUALITY, *SEMANTIC)
_QUALITY_SHARE = 0.8


@dataclass(frozen=True)
class Totals:
    """Points of 100; a group without a measured dimension is None, and the total the other's.

    All three are None where a dimension that was asked for is missing.
    """

    total: float | None
    quality: float | None
    semantic: float | None


def combine(quality: float, semantic: float) -> float:
    """Return the total of the two groups' scores."""
    return _QUALITY_SHARE * quality + (1 - _QUALITY_SHARE) * semantic


def totals(raw: Mapping[str, float], dimensions: Sequence[str] = DIMENSIONS) -> Totals:
    """Return the totals of raw scores over all of `dimensions`; refuse a gap among them by name."""
    require(raw, dimensions)
    quality, semantic = (_group(raw, group, dimensions) for group in (QUALITY, SEMANTIC))
    if quality is not None and semantic is not None:
        return Totals(combine(quality, semantic), quality, semantic)
    only = quality if quality is not None else semantic
    assert only is not None, "no dimension was asked for"
    return Totals(only, quality, semantic)


def by_prompt(results: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    """Return a number for each prompt, so that the mean over all prompts is the total.

    `results` holds each dimension's raw scores by prompt. The total is linear in them, so its
    interval follows from resampling prompts by their numbers.
    """
    names = tuple(results)
    nothing = dict.fromkeys(names, 0.0)
    ground = _total(nothing, names)
    slopes = {name: _total(nothing | {name: 1.0}, names) - ground for name in names}
    prompts = dict.fromkeys(prompt for own in results.values() for prompt in own)
    return {
        prompt: ground
        + len(prompts)
        * sum(
            slopes[name] * own[prompt] / len(own) for name, own in results.items() if prompt in own
        )
        for prompt in prompts
    }


def _total(raw: Mapping[str, float], dimensions: Sequence[str]) -> float:
    total = totals(raw, dimensions).total
    assert total is not None, "every dimension has a score"
    return total


def require(raw: Mapping[str, float], dimensions: Sequence[str] = DIMENSIONS) -> None:
    """Raise a DataError that names the dimensions without a score; there is no total then."""
    if gaps := missing(raw, dimensions):
        raise DataError(
            f"VBench: {len(gaps)} of {len(dimensions)} dimensions have no score "
            f"({', '.join(gaps)}), so there is no total. Score them too."
        )


def missing(raw: Mapping[str, float], dimensions: Sequence[str] = DIMENSIONS) -> list[str]:
    """Return the dimensions without a finite score."""
    return [name for name in dimensions if not math.isfinite(raw.get(name, math.nan))]


def normalised(dimension: str, raw: float) -> float:
    """Return a raw score on its dimension's scale, in points of 100; it is not clipped."""
    scale = (QUALITY | SEMANTIC)[dimension]
    return 100 * (raw - scale.low) / (scale.high - scale.low)


def _group(
    raw: Mapping[str, float], group: Mapping[str, Scale], dimensions: Sequence[str]
) -> float | None:
    """Return the weighted mean of a group's measured dimensions."""
    names = [name for name in group if name in dimensions]
    if not names:
        return None
    weight = sum(group[name].weight for name in names)
    return sum(group[name].weight * normalised(name, raw[name]) for name in names) / weight
