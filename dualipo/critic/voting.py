"""The count of several paths' votes, which makes one judgement (METHOD.md 3.1; faults 29, 30).

Outcomes refer to the item's own A and B: votes in the order "ba" are already swapped back. A hard
vote counts 1 for its outcome. A soft one counts each verdict by its probability behind the path, so
the tally is the mean over paths and both orders. Abstentions stay in the denominator: they lower
the majority's share and never become labels.
"""

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from dualipo.records import VERDICTS, Dimension, Verdict, Vote

Masses = tuple[float, ...]  # how much was voted for A, for B and for a tie


@dataclass(frozen=True)
class Tally:
    """The counted pairwise votes of one item and dimension.

    `a`, `b`, `tie` and `abstain` count the paths. `share` is the majority's part of all planned
    votes; `entropy` is that of the readable ones, in nats. `order_agreement` is the overlap of the
    verdicts under "ab" and under "ba": 1 for the same distribution, 0 where every verdict flips
    with the order, or where one order has no verdict.
    """

    a: int
    b: int
    tie: int
    abstain: int
    majority: Verdict
    share: float
    entropy: float
    order_agreement: float

    @property
    def certainty(self) -> float:
        """The share times the order agreement: low for a split vote and for a biased critic."""
        return self.share * self.order_agreement


def tally(votes: Sequence[Vote]) -> Tally:
    """Count the votes of one item and dimension; equal highest counts make a tie."""
    counts = Counter(vote.outcome for vote in votes)
    a, b, tie = (counts[verdict] for verdict in VERDICTS)
    voted = _verdict_masses(votes)
    majority, _ = _decision(voted, len(votes), ())
    return Tally(
        a=a,
        b=b,
        tie=tie,
        abstain=counts["abstain"],
        majority=majority,
        share=max(voted) / len(votes) if votes else 0.0,
        entropy=entropy(voted),
        order_agreement=_order_agreement(votes),
    )


def settled(votes: Sequence[Vote], *, num_planned: int, least_shares: Sequence[float]) -> bool:
    """Tell whether the votes still to come can change nothing about the judgement.

    Neither the verdict may change, nor whether its share reaches each of `least_shares`: every
    purpose keeps a judgement by a least share of its own.
    """
    now = _verdict_masses(votes)
    num_left = num_planned - len(votes)
    decisions = {
        _decision((now[0] + a, now[1] + b, now[2] + tie), num_planned, least_shares)
        for a in range(num_left + 1)
        for b in range(num_left + 1 - a)
        for tie in range(num_left + 1 - a - b)  # the remaining votes abstain
    }
    return len(decisions) == 1


def tallies(votes: Iterable[Vote]) -> dict[tuple[str, Dimension], Tally]:
    """Count the votes of each item and dimension, in the order of first appearance."""
    return {key: tally(group) for key, group in grouped(votes).items()}


def grouped(votes: Iterable[Vote]) -> dict[tuple[str, Dimension], list[Vote]]:
    """Group the votes by item and dimension, in the order of first appearance."""
    groups: dict[tuple[str, Dimension], list[Vote]] = {}
    for vote in votes:
        groups.setdefault((vote.item, vote.dimension), []).append(vote)
    return groups


def masses(votes: Iterable[Vote]) -> Counter[str]:
    """Return how much was voted for each label, of single clips or of pairs."""
    voted: Counter[str] = Counter()
    for vote in votes:
        for label, weight in vote.weights.items():
            voted[label] += weight  # type: ignore[assignment]
    return voted


def entropy(counts: Iterable[float]) -> float:
    """Compute the Shannon entropy of counts in nats; no counts have entropy 0."""
    counts = [count for count in counts if count]
    total = sum(counts)
    return sum(-count / total * math.log(count / total) for count in counts)


def _verdict_masses(votes: Sequence[Vote]) -> Masses:
    voted = masses(votes)
    return tuple(float(voted[verdict]) for verdict in VERDICTS)


def _decision(
    voted: Masses, num_votes: int, least_shares: Sequence[float]
) -> tuple[Verdict, tuple[bool, ...]]:
    """Return the majority's verdict, and for each least share whether the majority reaches it."""
    best = max(voted)
    leading = [verdict for verdict, mass in zip(VERDICTS, voted, strict=True) if mass == best]
    majority: Verdict = "abstain" if best == 0 else leading[0] if len(leading) == 1 else "tie"
    return majority, tuple(best >= share * num_votes for share in least_shares)


def _order_agreement(votes: Sequence[Vote]) -> float:
    readable = [vote for vote in votes if vote.outcome != "abstain"]
    ab = [vote for vote in readable if vote.order == "ab"]
    ba = [vote for vote in readable if vote.order == "ba"]
    if not ab or not ba:
        return 0.0
    places = zip(_verdict_masses(ab), _verdict_masses(ba), strict=True)
    return sum(min(in_ab / len(ab), in_ba / len(ba)) for in_ab, in_ba in places)
