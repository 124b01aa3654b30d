"""What a stage cost: seconds and peak memory, for `clock.*` events, which no digest reads."""

import resource
import time


class Clock:
    """Runs from its creation; durations are monotonic (fault 59)."""

    def __init__(self) -> None:
        self._start = time.monotonic()

    def read(self) -> dict[str, float]:
        """Seconds since the start, and the process' peak memory so far in MB."""
        peak_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return {"seconds": time.monotonic() - self._start, "peak_mb": peak_kb / 1024}
