"""A clock for the cost of a stage: seconds and peak memory, which no digest reads."""

import time
from datetime import UTC, datetime

from dualipo.events import ClockEvent
from dualipo.workers.job import Cost
from dualipo.workers.worker import Stopwatch


class Clock:
    """A clock that runs from its creation; durations are monotonic (fault 59).

    A training says how many devices it holds meanwhile.
    """

    def __init__(self, *, num_devices: int | None = None) -> None:
        self._watch = Stopwatch()
        self._num_devices = num_devices

    def read(self, stage: str) -> ClockEvent:
        """Return the seconds since the start, and the process' peak memory so far in MB."""
        cost = self._watch.read()
        return ClockEvent(
            stage=stage,
            seconds=cost.seconds,
            peak_mb=cost.peak_mb,
            num_devices=self._num_devices,
        )


def clocked(stage: str, cost: Cost) -> ClockEvent:
    """Return what a unit took on a worker, with where it ran."""
    return ClockEvent(
        stage=stage,
        seconds=cost.seconds,
        peak_mb=cost.peak_mb,
        device=cost.device,
        host=cost.host,
    )


class Lap:
    """The time of each step of a training, for people: nothing is ordered or decided by it."""

    def __init__(self) -> None:
        self._start = time.monotonic()

    def read(self) -> dict[str, str | float]:
        """Return the wall-clock time, and the seconds since the last reading."""
        now = time.monotonic()
        seconds, self._start = now - self._start, now
        return {"time": datetime.now(UTC).isoformat(timespec="seconds"), "seconds": seconds}
