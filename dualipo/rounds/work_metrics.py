"""The lines of `metrics.jsonl` that are no step of a training: the cost of work, a round's signals.

| stage | step | values |
|---|---|---|
| `work.STAGE` | the unit | seconds, peak memory in MB, clips or votes a second |
| `round` | the round | signals as numbers (win rate, ...), and how the critic's refresh ended |

They are for people and trackers. Nothing in a run reads them, so a kill may lose the last one.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime

from dualipo.events import ClockEvent, Event, MonitorEvent, RefreshEvent
from dualipo.store.ledger import Unit
from dualipo.tracking import OF_ROUNDS, OF_WORK, Metrics

_COUNTED = {"candidates": "clips_per_second", "votes": "votes_per_second"}


def log(metrics: Metrics, unit: Unit, events: Sequence[Event], made: Mapping[str, int]) -> None:
    """Write the lines about a unit that was committed with these events, and made so many rows."""
    place = {"round": unit.round, "attempt": unit.attempt}
    now = datetime.now(UTC).isoformat(timespec="seconds")
    for event in events:
        if isinstance(event, ClockEvent):
            stage = f"{OF_WORK}{event.stage}"
            metrics.log(max(unit.index, 0), stage=stage, **place, time=now, **_cost(event, made))
    measured = {name: value for event in events for name, value in _figures(event)}
    if measured:
        metrics.log(max(unit.round, 0), stage=OF_ROUNDS, **place, time=now, **measured)


def _cost(clock: ClockEvent, made: Mapping[str, int]) -> dict[str, float]:
    """Return what a unit took, and how many clips or votes a second it made."""
    counted = {name: made[key] for key, name in _COUNTED.items() if made.get(key)}
    rates = {name: num / clock.seconds for name, num in counted.items() if clock.seconds > 0}
    return {"seconds": clock.seconds, "peak_mb": clock.peak_mb, **rates}


def _figures(event: Event) -> Iterator[tuple[str, float | str]]:
    if isinstance(event, MonitorEvent):
        signals = asdict(event.signals)
        yield from ((name, value) for name, value in signals.items() if value is not None)
    if isinstance(event, RefreshEvent):
        yield "refresh", event.outcome
        yield "refreshed", float(event.outcome == "refreshed")
        yield "reverted", float(event.outcome == "reverted")
