"""From grades to labelled clips, for Diffusion-KTO: pointwise labels alone (METHOD.md 4.3).

Good in every dimension is desirable, Bad in any is undesirable, the rest is dropped and counted. A
clip's grade in a dimension is the strict majority of its readable paths. The option `extremes`
labels the best and the worst of a prompt by expected score instead, for a critic that rarely says
Good; margins are then dropped as those of pairs are.
"""

import statistics
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from dualipo.preferences import build
from dualipo.records import DIMENSIONS, GRADES, Dimension, Grade, Vote

DropReason = Literal["unreadable", "tie", "neither", "thin margin"]


@dataclass(frozen=True)
class Opinion:
    """What the paths say of one clip in one dimension; `share` is of all its paths.

    Without a grade two lead, or none was read: then the share is 0.
    """

    grade: Grade | None
    share: float


@dataclass(frozen=True)
class Labelled:
    """A clip to learn from; `certainty` is the mean share over what decided its label."""

    candidate_id: str
    desirable: bool
    certainty: float


@dataclass(frozen=True)
class BuiltPoints:
    """The round's labels, and how many clips were dropped for what."""

    kept: tuple[Labelled, ...]
    dropped: dict[DropReason, int]


def opinions(votes: Iterable[Vote]) -> dict[str, dict[Dimension, Opinion]]:
    """The majority's grade by item and dimension; none where two grades lead or none is read."""
    outcomes: dict[tuple[str, Dimension], list[str]] = {}
    for one in votes:
        outcomes.setdefault((one.item, one.dimension), []).append(one.outcome)
    found: dict[str, dict[Dimension, Opinion]] = {}
    for (item, dimension), of_paths in outcomes.items():
        found.setdefault(item, {})[dimension] = _opinion(of_paths)
    return found


def build_points(graded: Mapping[str, Mapping[Dimension, Opinion]]) -> BuiltPoints:
    """Label every clip whose grades decide; `graded` is in the candidates' order."""
    dropped: Counter[DropReason] = Counter()
    kept = []
    for candidate_id, by_dimension in graded.items():
        label = _label(by_dimension)
        if isinstance(label, bool):
            kept.append(Labelled(candidate_id, label, _certainty(by_dimension, label)))
        else:
            dropped[label] += 1
    return BuiltPoints(tuple(kept), dict(dropped))


def build_extremes(
    contests: Sequence[build.Contest],
    graded: Mapping[str, Mapping[Dimension, Opinion]],
    *,
    margin_percentile: float,
) -> BuiltPoints:
    """The best of each prompt is desirable, the worst is not, without the thinnest margins.

    All other clips of `graded` are dropped as neither.
    """
    least = build.percentile([contest.margin for contest in contests], margin_percentile)
    wide = [contest for contest in contests if contest.margin >= least]
    kept = [
        Labelled(candidate_id, desirable, _mean_share(graded[candidate_id]))
        for contest in wide
        for candidate_id, desirable in ((contest.top, True), (contest.bottom, False))
    ]
    num_thin = 2 * (len(contests) - len(wide))
    dropped: dict[DropReason, int] = {
        "thin margin": num_thin,
        "neither": len(graded) - len(kept) - num_thin,
    }
    return BuiltPoints(tuple(kept), {reason: num for reason, num in dropped.items() if num})


def _opinion(outcomes: Sequence[str]) -> Opinion:
    counts = {grade: outcomes.count(grade) for grade in GRADES}
    best = max(counts.values())
    leading = [grade for grade in GRADES if counts[grade] == best]
    is_clear = best > 0 and len(leading) == 1
    return Opinion(leading[0] if is_clear else None, best / len(outcomes))


def _label(by_dimension: Mapping[Dimension, Opinion]) -> bool | DropReason:
    """A Bad decides whatever else could not be read; a Good needs every dimension."""
    found = [by_dimension.get(d, Opinion(None, 0.0)) for d in DIMENSIONS]
    grades = [one.grade for one in found]
    if "bad" in grades:
        return False
    if None in grades:
        unread = any(one.share == 0 for one in found)
        return "unreadable" if unread else "tie"
    return True if set(grades) == {"good"} else "neither"


def _certainty(by_dimension: Mapping[Dimension, Opinion], desirable: bool) -> float:
    grade = "good" if desirable else "bad"
    return statistics.fmean(one.share for one in by_dimension.values() if one.grade == grade)


def _mean_share(by_dimension: Mapping[Dimension, Opinion]) -> float:
    return statistics.fmean(one.share for one in by_dimension.values())
