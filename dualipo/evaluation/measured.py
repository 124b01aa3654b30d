"""Measurements of generator versions without an oracle: who made them, and how they are read.

A `MeasuredEvent` holds what one source says of one version:

    pixels       clip metrics, for free (`pixels.py`)
    judge:NAME   a model that never trains, against the base
    vbench       the subset of every round, in points of 100, whose total triggers read
    world suite  the embedded world's own, from pixels and simulated people; triggers read its total
    vbench, imported      what `dualipo vbench score --into` read; no trigger reads it
    vbench, whole suite   what `dualipo vbench run` measures on request; no trigger reads it
    people       labels of an audit or of a blind study

The oracle's scores are `ScoresEvent`s, for people only. A source that measures a version again, in
a later unit, replaces what it said before.
"""

from collections.abc import Iterable, Sequence

from dualipo.event_parts import Measurement
from dualipo.events import Event, MeasuredEvent

PIXELS, VBENCH, PEOPLE, ORACLE = "pixels", "vbench", "people", "oracle"
VBENCH_WHOLE, VBENCH_IMPORTED = "vbench, whole suite", "vbench, imported"
WORLD_SUITE = "world suite"
JUDGE = "judge:"  # followed by the judge's name in the recipe
TOTAL = "total"  # the name of the measurement that stands for a whole suite


def newest(events: Iterable[Event]) -> list[MeasuredEvent]:
    """Return the last event of each source and version, in the order of first appearance."""
    kept: dict[tuple[str, str], MeasuredEvent] = {}
    for event in events:
        if isinstance(event, MeasuredEvent):
            kept[event.source, event.version] = event
    return list(kept.values())


def evaluation_total(events: Iterable[MeasuredEvent], version: str) -> float | None:
    """Return the newest total of a version by a suite, in points of 100, for the triggers.

    The oracle's is never among them, nor the whole suite's, which no subset compares with.
    """
    totals = [
        measurement.value
        for event in newest(events)
        if event.version == version and event.source not in (ORACLE, VBENCH_WHOLE, VBENCH_IMPORTED)
        for measurement in event.measurements
        if measurement.name == TOTAL and measurement.against is None
    ]
    return totals[-1] if totals else None


def figures(events: Iterable[MeasuredEvent]) -> dict[str, float]:
    """Return every number about versions themselves, and judges' win rates, for a chart.

    A change against another version is left out, as is a part by dimension.
    """
    return {
        f"{measurement.name} ({event.source})": measurement.value
        for event in events
        for measurement in event.measurements
        if measurement.value is not None and measurement.dimension is None
        if measurement.against is None or event.source.startswith(JUDGE)
    }


def named(
    measurements: Sequence[Measurement],
    name: str,
    *,
    against: str | None = None,
    dimension: str | None = None,
) -> Measurement | None:
    """Return the measurement of this name, compared with this version; None where there is none."""
    wanted = (name, against, dimension)
    return next((m for m in measurements if (m.name, m.against, m.dimension) == wanted), None)
