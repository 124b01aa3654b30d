"""A clock for the cost of a stage: seconds and peak memory, which no digest reads."""

import resource
import time

from dualipo.events import ClockEvent


class Clock:
    """A clock that runs from its creation; durations are monotonic (fault 59)."""

    def __init__(self) -> None:
        self._start = time.monotonic()

    def read(self, stage: str) -> ClockEvent:
        """Return the seconds since the start, and the process' peak memory so far in MB."""
        peak_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        seconds = time.monotonic() - self._start
        return ClockEvent(stage=stage, seconds=seconds, peak_mb=peak_kb / 1024)
