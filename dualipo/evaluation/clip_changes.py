"""Clip metrics of a version beside those of the base and of the version before, and the alarms.

A difference is paired over prompts (`bootstrap`). An alarm is a sentence with the numbers behind
it; one that rests on a change is given only where the change's interval excludes zero. A fall of
motion is told however small, another change from a tenth of the number before on.
"""

from collections.abc import Mapping, Sequence

from dualipo.evaluation import bootstrap, measured, pixels
from dualipo.evaluation.bootstrap import Interval
from dualipo.event_parts import Measurement
from dualipo.events import MeasuredEvent

Values = Mapping[str, Mapping[str, list[float]]]  # metric -> prompt -> a value for each clip
LEAST_SHARE = 0.1  # of the number before, below which no change but one of motion alarms
STILL = 0.01  # of the frame's longer side a second: a person sees a still picture

_FELL = {
    pixels.DYNAMICS: "motion fell",
    pixels.DIVERSITY: "the clips of a prompt became alike",
    "sharpness": "the clips became blurred",
}
_ROSE = {pixels.UNSMOOTHNESS: "the clips flicker more than their motion explains"}
_FROZEN = "frozen"
KINDS = (_FROZEN, *_FELL.values(), *_ROSE.values())  # an alarm begins with its kind and a colon


def of_version(
    version: str, values: Values, *, others: Sequence[MeasuredEvent] = ()
) -> MeasuredEvent:
    """Return a version's clip metrics, their changes against `others`, and what is alarming."""
    own = [over_prompts(name, values[name]) for name in pixels.METRICS if values.get(name)]
    changes = [
        change
        for other in others
        for name in pixels.METRICS
        if (change := change_of(name, other, values))
    ]
    return MeasuredEvent(
        source=measured.PIXELS,
        version=version,
        measurements=[*own, *changes],
        alarms=[*_still(own), *_alarms(own, changes)],
        by_prompt={name: dict(by_prompt) for name, by_prompt in values.items() if by_prompt},
    )


def dynamics_drop(event: MeasuredEvent, base: str) -> float | None:
    """Return the fall of the dynamic degree against the base, as a share of the base's.

    It is 0 where no fall is shown, and None where nothing was compared.
    """
    change = measured.named(event.measurements, pixels.DYNAMICS, against=base)
    now = measured.named(event.measurements, pixels.DYNAMICS)
    if change is None or now is None or change.value is None or now.value is None:
        return None
    before = now.value - change.value
    return -change.value / before if is_shown(change) and change.value < 0 < before else 0.0


def interval(measurement: Measurement) -> Interval | None:
    """Return a measurement as an interval; None where it has no ends."""
    value, low, high = measurement.value, measurement.low, measurement.high
    if value is None or low is None or high is None:
        return None
    return Interval(value, low, high, measurement.num_prompts)


def of_interval(name: str, ends: Interval, **named: str) -> Measurement:
    """Return an interval as a measurement."""
    return Measurement(
        name=name,
        value=_short(ends.mean),
        low=_short(ends.low),
        high=_short(ends.high),
        num_prompts=ends.num_clusters,
        **named,
    )


def over_prompts(name: str, by_prompt: Mapping[str, Sequence[float]]) -> Measurement:
    """Return the mean over prompts with its interval, which one prompt does not have."""
    prompts = [prompt for prompt, own in by_prompt.items() for _ in own]
    every = [value for own in by_prompt.values() for value in own]
    if len(by_prompt) < 2:
        return Measurement(name=name, value=every[0], num_prompts=1)
    return of_interval(name, bootstrap.clustered_mean(every, clusters=prompts))


def change_of(name: str, other: MeasuredEvent, values: Values) -> Measurement | None:
    """Return a metric's change over the prompts that both versions have clips of."""
    before, after = (other.by_prompt or {}).get(name, {}), values.get(name, {})
    shared = before.keys() & after.keys()
    if len(shared) < 2:
        return None
    kept = [{prompt: own[prompt] for prompt in shared} for own in (before, after)]
    return of_interval(name, bootstrap.paired_difference(*kept), against=other.version)


def changes_of(name: str, others: Sequence[MeasuredEvent], values: Values) -> list[Measurement]:
    """Return a measurement's changes against those of the versions that can be compared."""
    found = (change_of(name, other, values) for other in others)
    return [change for change in found if change is not None]


def falls(kind: str, now: Measurement, changes: Sequence[Measurement]) -> list[str]:
    """Return an alarm of this kind for each fall that its interval shows."""
    return [
        f"{kind}: {in_numbers(now, change)}"
        for change in changes
        if (change.value or 0) < 0 and is_shown(change)
    ]


def _still(own: Sequence[Measurement]) -> list[str]:
    now = measured.named(own, pixels.DYNAMICS)
    if now is None or now.value is None or now.value >= STILL:
        return []
    return [
        f"{_FROZEN}: the clips hardly move (dynamic degree {now.value:.3f}; under {STILL:g} of the "
        "frame a second is a still picture)"
    ]


def _alarms(own: Sequence[Measurement], changes: Sequence[Measurement]) -> list[str]:
    alarms = []
    for change in changes:
        now = measured.named(own, change.name)
        words = (_FELL if (change.value or 0) < 0 else _ROSE).get(change.name)
        if words and now and is_shown(change) and _is_large(now, change):
            alarms.append(f"{words}: {in_numbers(now, change)}")
    return alarms


def _is_large(now: Measurement, change: Measurement) -> bool:
    assert now.value is not None and change.value is not None
    before = now.value - change.value
    return change.name == pixels.DYNAMICS or abs(change.value) >= LEAST_SHARE * before


def is_shown(change: Measurement) -> bool:
    """Tell whether a change's interval excludes zero."""
    ends = interval(change)
    return ends is not None and ends.excludes_zero


def in_numbers(now: Measurement, change: Measurement) -> str:
    """Write a measurement before and after a change, with the change's interval."""
    assert now.value is not None and change.value is not None
    before = now.value - change.value
    share = f", by {abs(change.value) / before:.0%}" if before > 0 else ""
    return (
        f"{change.name} {before:.3f} -> {now.value:.3f}{share} against {change.against} "
        f"(95 % interval of the change {change.low:+.3f} to {change.high:+.3f})"
    )


def _short(value: float) -> float:
    return float(f"{value:.6g}")
