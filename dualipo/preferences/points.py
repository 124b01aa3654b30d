"""Builds the round's labelled clips for Diffusion-KTO from pointwise grades (METHOD.md 4.3).

Good in every dimension is desirable, Bad in any is undesirable, the rest is dropped and counted. A
clip's grade in a dimension is the strict majority of its readable paths. The option `extremes`
labels the best and the worst of a prompt by expected score instead, for a critic that rarely says
Good; margins are then dropped as those of pairs are.
"""

import statistics
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from dualipo.preferences import build
from dualipo.records import DIMENSIONS, GRADES, Dimension, Grade, Vote

DropReason = Literal["unreadable", "tie", "neither", "turned by its caption", "thin margin"]


@dataclass(frozen=True)
class Opinion:
    """The grade that most paths give a clip in one dimension, and its share of all paths.

    The grade is None where two grades lead, or where no path could be read; then the share is 0.
    """

    grade: Grade | None
    share: float


@dataclass(frozen=True)
class Labelled:
    """A clip to learn from; `certainty` is the mean share of the grades that decided its label."""

    candidate_id: str
    desirable: bool
    certainty: float


@dataclass(frozen=True)
class BuiltPoints:
    """The round's labels, and the number of clips dropped, by reason."""

    kept: tuple[Labelled, ...]
    dropped: dict[DropReason, int]


def opinions(votes: Iterable[Vote]) -> dict[str, dict[Dimension, Opinion]]:
    """Return the majority's opinion by item and dimension."""
    paths: dict[tuple[str, Dimension], list[Vote]] = {}
    for vote in votes:
        paths.setdefault((vote.item, vote.dimension), []).append(vote)
    by_item: dict[str, dict[Dimension, Opinion]] = {}
    for (item, dimension), of_paths in paths.items():
        by_item.setdefault(item, {})[dimension] = _opinion(of_paths)
    return by_item


def build_points(
    graded: Mapping[str, Mapping[Dimension, Opinion]],
    *,
    dimensions: Sequence[Dimension] = DIMENSIONS,
    turned: Collection[str] = (),
) -> BuiltPoints:
    """Label every clip whose grades decide; `graded` is in the candidates' order.

    `turned` are the clips whose grade turned under a neutral caption; none of them is kept.
    """
    dropped: Counter[DropReason] = Counter()
    kept = []
    for candidate_id, by_dimension in graded.items():
        label = _label(by_dimension, dimensions)
        if isinstance(label, bool) and candidate_id in turned:
            label = "turned by its caption"
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
    turned: Collection[str] = (),
) -> BuiltPoints:
    """Label each prompt's best clip as desirable and its worst as not, where they differ enough.

    The contests with the smallest margins are dropped, and all other clips of `graded` as neither.
    A contest with a clip in `turned`, whose grade turned under a neutral caption, is dropped first.
    """
    steady = [c for c in contests if not {c.top, c.bottom} & set(turned)]
    least = build.percentile([contest.margin for contest in steady], margin_percentile)
    wide = [contest for contest in steady if contest.margin >= least]
    kept = [
        Labelled(candidate_id, desirable, _mean_share(graded[candidate_id]))
        for contest in wide
        for candidate_id, desirable in ((contest.top, True), (contest.bottom, False))
    ]
    num_turned, num_thin = 2 * (len(contests) - len(steady)), 2 * (len(steady) - len(wide))
    dropped: dict[DropReason, int] = {
        "turned by its caption": num_turned,
        "thin margin": num_thin,
        "neither": len(graded) - len(kept) - num_turned - num_thin,
    }
    return BuiltPoints(tuple(kept), {reason: num for reason, num in dropped.items() if num})


def _opinion(votes: Sequence[Vote]) -> Opinion:
    voted = {grade: sum(vote.weights.get(grade, 0.0) for vote in votes) for grade in GRADES}
    best = max(voted.values())
    leading = [grade for grade in GRADES if voted[grade] == best]
    is_clear = best > 0 and len(leading) == 1
    return Opinion(leading[0] if is_clear else None, best / len(votes))


def _label(
    by_dimension: Mapping[Dimension, Opinion], dimensions: Sequence[Dimension]
) -> bool | DropReason:
    """Return the label or the reason for none: one Bad decides, Good needs every dimension."""
    by_order = [by_dimension.get(d, Opinion(None, 0.0)) for d in dimensions]
    grades = [opinion.grade for opinion in by_order]
    if "bad" in grades:
        return False
    if None in grades:
        unread = any(opinion.share == 0 for opinion in by_order)
        return "unreadable" if unread else "tie"
    return True if set(grades) == {"good"} else "neither"


def _certainty(by_dimension: Mapping[Dimension, Opinion], desirable: bool) -> float:
    grade = "good" if desirable else "bad"
    decisive = (opinion.share for opinion in by_dimension.values() if opinion.grade == grade)
    return statistics.fmean(decisive)


def _mean_share(by_dimension: Mapping[Dimension, Opinion]) -> float:
    return statistics.fmean(opinion.share for opinion in by_dimension.values())
