"""The engine that needs no worker: units are done one after another in the driver's process."""

from collections.abc import Generator, Iterable
from typing import Any

from dualipo import interrupt
from dualipo.workers.job import Done, Job, Work
from dualipo.workers.worker import Stopwatch


class InlineEngine:
    """An engine that does every unit on the driver's own bench, so its models are loaded once."""

    num_lost = 0

    def __init__(self, bench: Any) -> None:
        self._bench = bench

    def run(self, job: Job, works: Iterable[Work]) -> Generator[Done, None, None]:
        """Do the units in their order."""
        for work in works:
            interrupt.check()
            watch = Stopwatch()
            row = job.work(self._bench, work.content)
            yield Done(work, row, watch.read())

    def rest(self) -> None:
        """Do nothing: the driver frees its own models."""

    def close(self) -> None:
        """Do nothing: there is no worker."""
