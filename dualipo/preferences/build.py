"""Builds the round's preference pairs from scores and votes, and counts why prompts are dropped.

Of a prompt's candidates the best and the worst by expected score meet once, in both orders
(METHOD.md 3.4). The pair is kept if the votes confirm it, at least one dimension with a large
share of them (METHOD.md 3.1), no dimension speaks clearly for the loser, and the margin is not
among the smallest.
"""

import statistics
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from dualipo.records import DIMENSIONS, Dimension, Prompt, Verdict, pair_id

DropReason = Literal[
    "bad clips",
    "unreadable",
    "no contrast",
    "tie",
    "not confirmed",
    "dimension conflict",
    "uncertain",
    "turned by its caption",
    "thin margin",
]
Scores = Mapping[Dimension, float]
BAD_CLIPS: DropReason = "bad clips"


@dataclass(frozen=True)
class Contest:
    """A prompt's best (A) and worst (B) candidate by expected score."""

    prompt: Prompt
    top: str
    bottom: str
    top_scores: Scores
    bottom_scores: Scores
    weights: Scores = field(default_factory=dict)

    @property
    def contest_id(self) -> str:
        """The key of this pair among the judged items."""
        return pair_id(self.top, self.bottom)

    @property
    def margin(self) -> float:
        """The difference of the two mean scores."""
        return mean_score(self.top_scores, self.weights) - mean_score(
            self.bottom_scores, self.weights
        )


@dataclass(frozen=True)
class Confirmation:
    """The votes on a contest, by dimension: the majority's verdict, its share, its certainty."""

    verdicts: Mapping[Dimension, Verdict]
    shares: Mapping[Dimension, float]
    certainties: Mapping[Dimension, float]


@dataclass(frozen=True)
class Kept:
    """A preference for the contest's top; `certainty` is the mean over the dimensions it won."""

    contest: Contest
    certainty: float


@dataclass(frozen=True)
class BuiltPairs:
    """The round's preferences, and the number of prompts dropped, by reason."""

    kept: tuple[Kept, ...]
    dropped: dict[DropReason, int]


def mean_score(scores: Scores, weights: Scores) -> float:
    """Return the mean over the dimensions, which all count the same where there are no weights."""
    if not weights:
        return statistics.fmean(scores.values())
    return statistics.fmean(scores.values(), [weights[dimension] for dimension in scores])


def choose_contest(
    prompt: Prompt,
    scores: Mapping[str, Scores],
    *,
    num_dimensions: int = len(DIMENSIONS),
    weights: Scores | None = None,
    least_contrast: float = 1e-6,
) -> Contest | DropReason:
    """Pick the best and the worst candidate; every candidate needs a score in every dimension."""
    weights = weights or {}
    readable = {c: by_dim for c, by_dim in scores.items() if len(by_dim) == num_dimensions}
    if len(readable) < 2:
        return "unreadable"
    ordered = sorted(readable, key=lambda each: (-mean_score(readable[each], weights), each))
    top, bottom = ordered[0], ordered[-1]
    contest = Contest(prompt, top, bottom, readable[top], readable[bottom], weights)
    return contest if contest.margin > least_contrast else "no contrast"


def objection(
    contest: Contest,
    confirmation: Confirmation,
    *,
    least_share: float,
    dimension_slack: float,
) -> DropReason | None:
    """Return the reason for which the votes do not confirm the contest, or None.

    At least one dimension has to be won with `least_share` of its votes; a critic whose verdict
    follows the order never has three quarters of them (fault 30).
    """
    verdicts = [v for v in confirmation.verdicts.values() if v != "abstain"]
    if not verdicts:
        return "unreadable"
    won, lost = verdicts.count("a"), verdicts.count("b")
    if won == lost == 0:
        return "tie"
    if won <= lost:
        return "not confirmed"
    scores = contest.top_scores.items()
    if lost or any(top < contest.bottom_scores[d] - dimension_slack for d, top in scores):
        return "dimension conflict"
    sure = (confirmation.shares[d] >= least_share for d in _won(confirmation))
    return None if any(sure) else "uncertain"


def build_pairs(
    contests: Sequence[Contest],
    confirmations: Mapping[str, Confirmation],
    *,
    least_share: float,
    dimension_slack: float,
    margin_percentile: float,
    turned: Collection[str] = (),
) -> BuiltPairs:
    """Keep the contests that the votes confirm, but not those with the smallest margins.

    `turned` are the contests whose verdict turned under a neutral caption; none of them is kept.
    """
    dropped: Counter[DropReason] = Counter()
    confirmed = []
    for contest in contests:
        confirmation = confirmations[contest.contest_id]
        reason = objection(
            contest, confirmation, least_share=least_share, dimension_slack=dimension_slack
        )
        if reason is None and contest.contest_id in turned:
            reason = "turned by its caption"
        if reason:
            dropped[reason] += 1
        else:
            confirmed.append(Kept(contest, _certainty(confirmation)))
    least = percentile([kept.contest.margin for kept in confirmed], margin_percentile)
    wide = tuple(kept for kept in confirmed if kept.contest.margin >= least)
    if len(wide) < len(confirmed):
        dropped["thin margin"] = len(confirmed) - len(wide)
    return BuiltPairs(wide, dict(dropped))


def _certainty(confirmation: Confirmation) -> float:
    return statistics.fmean(confirmation.certainties[d] for d in _won(confirmation))


def _won(confirmation: Confirmation) -> list[Dimension]:
    return [d for d, verdict in confirmation.verdicts.items() if verdict == "a"]


def percentile(values: Sequence[float], percent: float) -> float:
    """Return the smallest value with at least `percent` of the values under it."""
    if not values:
        return 0.0
    return sorted(values)[min(len(values) - 1, int(len(values) * percent / 100))]
