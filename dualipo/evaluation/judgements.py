"""What a judge that never trains says of a version against the base: win, tie, loss, by dimension.

A win counts 1, a tie a half, a loss 0. Verdicts are majorities over both orders, so a judge that
follows the order alone calls ties. A question without an answer is left out. The interval is over
prompts. A judge that could not be asked is "not measured", with the reason, and never a zero.
"""

import statistics
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

from dualipo.evaluation import measured
from dualipo.evaluation.clip_changes import interval, over_prompts
from dualipo.event_parts import Measurement
from dualipo.events import MeasuredEvent
from dualipo.records import DIMENSIONS, Dimension, Verdict

WIN_RATE, WINS, TIES, LOSSES = "win rate", "wins", "ties", "losses"
_POINTS: dict[Verdict, float] = {"a": 1.0, "tie": 0.5, "b": 0.0}  # A is the version, B the base
_EVEN = 0.5

Verdicts = Mapping[str, Mapping[Dimension, Sequence[Verdict]]]  # by prompt and dimension


def of_verdicts(judge: str, version: str, base: str, verdicts: Verdicts) -> MeasuredEvent:
    """Return the judge's wins, ties and losses of a version, in each dimension and in all."""
    by_dimension = {
        dimension: {
            prompt: points
            for prompt, given in verdicts.items()
            if (points := [_POINTS[v] for v in given.get(dimension, ()) if v in _POINTS])
        }
        for dimension in in_order({name for given in verdicts.values() for name in given})
    }
    overall = {
        prompt: [statistics.fmean(means)]
        for prompt in verdicts
        if (means := [statistics.fmean(p[prompt]) for p in by_dimension.values() if prompt in p])
    }
    if not overall:
        return not_measured(judge, version, base, f"it answered none of {len(verdicts)} prompts")
    measurements = _of_dimension(overall, base, None)
    for dimension, answered in by_dimension.items():
        measurements += _of_dimension(answered, base, dimension) if answered else []
    return MeasuredEvent(
        source=measured.JUDGE + judge,
        version=version,
        measurements=measurements,
        alarms=_alarms(judge, measurements[0]),
        by_prompt={WIN_RATE: overall},
    )


def in_order(dimensions: Collection[Dimension]) -> list[Dimension]:
    """Return the standard dimensions in their order, then a run's own by name."""
    own = sorted({*dimensions} - {*DIMENSIONS})
    return [name for name in DIMENSIONS if name in dimensions] + own


def not_measured(judge: str, version: str, base: str, why: str) -> MeasuredEvent:
    """Return the event of a judge that could not be asked about a version."""
    missing = Measurement(name=WIN_RATE, value=None, num_prompts=0, against=base, why=why)
    return MeasuredEvent(
        source=measured.JUDGE + judge, version=version, measurements=[missing], alarms=[]
    )


def is_measured(event: MeasuredEvent) -> bool:
    """Tell whether the judge answered."""
    return event.measurements[0].value is not None


def _of_dimension(
    points: Mapping[str, Sequence[float]], base: str, dimension: Dimension | None
) -> list[Measurement]:
    every = [value for own in points.values() for value in own]
    rate = over_prompts(WIN_RATE, points)
    counts = Counter(WINS if x > _EVEN else LOSSES if x < _EVEN else TIES for x in every)
    shares = [
        Measurement(name=name, value=counts[name] / len(every), num_prompts=len(points))
        for name in (WINS, TIES, LOSSES)
    ]
    return [replace(part, against=base, dimension=dimension) for part in (rate, *shares)]


def _alarms(judge: str, rate: Measurement) -> list[str]:
    ends = interval(rate)
    if ends is None or not ends.is_enough or ends.high >= _EVEN:
        return []
    return [
        f"judge {judge} prefers {rate.against}: this version wins {ends.mean:.0%} of its prompts "
        f"(95 % interval {ends.low:.0%} to {ends.high:.0%})"
    ]
