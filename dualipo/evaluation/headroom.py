"""What a critic's own judgements are worth on labelled pairs, and what a refresh may expect.

Each label is met by four readings of one critic:

    one path       the share of single sampled paths that are right
    hard votes     the majority of the sampled labels
    soft votes     the mean probability behind the paths, in both orders
    forced choice  the verdict's probability behind one greedy path, in both orders

A refresh by votes can teach what the surest verdicts know better than a single path. So the rows
give the precision of the surest half, quarter and tenth of each reading beside its accuracy, and
how far its certainty is from how often it is right. Leaves out labels of a tie.
"""

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from dualipo.evaluation import bootstrap, judgements, refresh_gate
from dualipo.evaluation.report.report_tables import Table
from dualipo.records import Dimension

Reading = Literal["one path", "hard votes", "soft votes", "forced choice"]
READINGS: tuple[Reading, ...] = ("one path", "hard votes", "soft votes", "forced choice")
COVERAGES = (1.0, 0.5, 0.25, 0.1)
NUM_BINS = 5
_ROOM = 0.05  # the lead of sure verdicts over single paths from which votes can teach


@dataclass(frozen=True)
class Judged:
    """A labelled pair as one critic reads it.

    `rights` holds for each reading the probability that it gives to the label's verdict against the
    other one: above a half is right. `paths` are those of single paths, 1 or 0. `contradicted` is
    the share of right paths whose grades say the opposite of the label's, None without grades.
    """

    prompt_id: str
    dimension: Dimension
    rights: Mapping[Reading, float]
    paths: Sequence[float]
    contradicted: float | None = None


@dataclass(frozen=True)
class Row:
    """A reading's accuracy with its interval, its precision by coverage, its calibration error."""

    dimension: str
    reading: Reading
    num: int
    accuracy: bootstrap.Interval
    precision: dict[float, float]
    calibration: float | None


def rows(judged: Sequence[Judged]) -> list[Row]:
    """Summarise every reading, over all labels and by each dimension that was asked about."""
    made = []
    for name in ("all", *judgements.in_order({each.dimension for each in judged})):
        own = [each for each in judged if name in ("all", each.dimension)]
        if own:
            made += [_row(name, reading, own) for reading in READINGS]
    return made


def _row(dimension: str, reading: Reading, judged: Sequence[Judged]) -> Row:
    if reading == "one path":
        chances = [statistics.fmean(each.paths) for each in judged]
        hits, sure = chances, chances
    else:
        sure = [each.rights[reading] for each in judged]
        hits = [_hit(right) for right in sure]
    clusters = [each.prompt_id for each in judged]
    order = sorted(range(len(judged)), key=lambda n: -abs(sure[n] - 0.5))
    precision = {
        share: statistics.fmean([hits[n] for n in order[: max(1, round(share * len(order)))]])
        for share in (COVERAGES if reading != "one path" else (1.0,))
    }
    return Row(
        dimension=dimension,
        reading=reading,
        num=len(judged),
        accuracy=_interval(hits, clusters),
        precision=precision,
        calibration=None if reading == "one path" else calibration_error(sure),
    )


def _interval(hits: Sequence[float], clusters: Sequence[str]) -> bootstrap.Interval:
    """Return the accuracy; of a single prompt it may be anything."""
    if len(set(clusters)) < 2:
        return bootstrap.Interval(statistics.fmean(hits), 0.0, 1.0, 1)
    return bootstrap.clustered_mean(hits, clusters=clusters)


def calibration_error(rights: Sequence[float]) -> float:
    """Return the mean distance between certainty and accuracy, over bins of certainty."""
    bins: dict[int, list[float]] = {}
    for right in rights:
        certainty = max(right, 1 - right)
        bins.setdefault(min(NUM_BINS - 1, int(2 * NUM_BINS * (certainty - 0.5))), []).append(right)
    gaps = [
        abs(math.fsum(max(r, 1 - r) for r in own) - math.fsum(map(_hit, own)))
        for own in bins.values()
    ]
    return math.fsum(gaps) / len(rights)


def expectation(judged: Sequence[Judged], *, margin: float) -> list[str]:
    """Say in words what a refresh may expect, and how many labels a reliable answer takes."""
    every = [row for row in rows(judged) if row.dimension == "all"]
    by_reading = {row.reading: row for row in every}
    path, soft = by_reading["one path"], by_reading["soft votes"]
    lead = soft.precision[0.25] - path.accuracy.mean
    told = [
        f"A single path is right in {path.accuracy.mean:.1%}, the surest quarter of soft votes in "
        f"{soft.precision[0.25]:.1%} of {len(judged)} labels.",
        _of_votes(lead, soft.accuracy.mean),
    ]
    contradicted = [each.contradicted for each in judged if each.contradicted is not None]
    if contradicted:
        told.append(
            f"In {statistics.fmean(contradicted):.1%} of right paths the grades say the opposite "
            "of the label's grades: there the verdict is right for a wrong reason."
        )
    needed = refresh_gate.labels_needed(margin)
    few = "" if len(judged) >= needed else f" These are {len(judged)}, so read them with care."
    told.append(
        f"To tell a change of {100 * margin:g} points from chance takes about {needed:,} labels."
        + few
    )
    return told


def _of_votes(lead: float, accuracy: float) -> str:
    if accuracy < 0.55:
        return (
            "Its votes are hardly better than chance here, and votes remove variance, never bias: "
            "a refresh by votes has nothing to learn from. Fresh labels may help (source audit)."
        )
    if lead < _ROOM:
        return (
            "Sure verdicts know no more than single paths: a refresh by votes can make the critic "
            "surer, and hardly better. Try other sources, or fresh labels."
        )
    return (
        f"Sure verdicts lead single paths by {100 * lead:.1f} points: a refresh by votes has "
        "something to teach. Whether it helps on these clips, the gate decides."
    )


def table(judged: Sequence[Judged]) -> str:
    """Write the rows as a table for a terminal."""
    head = ["dimension", "reading", "labels", "accuracy", "95 % interval"]
    head += [f"surest {share:.0%}" for share in COVERAGES[1:]] + ["calibration error"]
    lines = []
    for row in rows(judged):
        precision = [row.precision.get(share) for share in COVERAGES[1:]]
        lines.append(
            [row.dimension, row.reading, str(row.num), f"{row.accuracy.mean:.1%}"]
            + [row.accuracy.ends(lambda share: f"{share:.1%}")]
            + ["-" if share is None else f"{share:.1%}" for share in precision]
            + ["-" if row.calibration is None else f"{row.calibration:.3f}"]
        )
    return Table(head, lines).in_text()


def _hit(right: float) -> float:
    return 1.0 if right > 0.5 else 0.5 if right == 0.5 else 0.0
