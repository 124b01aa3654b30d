"""The roster: what each worker is doing, written into the run's folder for the dashboard.

It is for people alone. Only the last state is kept, and a run without workers has no roster.
"""

import time
from dataclasses import asdict, dataclass
from pathlib import Path

from dualipo.store import atomic
from dualipo.store.worker_rows import ROSTER, WorkerRow

WRITE_EVERY = 2.0  # seconds


@dataclass
class WorkerStatus:
    """A worker's present state; times are seconds since 1970."""

    worker: str
    host: str
    device: str
    began: float
    is_alive: bool = True
    unit: str = ""
    since: float = 0.0
    num_done: int = 0
    num_failures: int = 0
    busy_seconds: float = 0.0

    def begin(self, unit: str) -> None:
        """Note the unit that is under way; an empty name is none."""
        self.unit, self.since = unit, time.time()

    def finish(self, seconds: float, device: str) -> None:
        """Note a unit that was done, and the device that did it."""
        self.num_done += 1
        self.busy_seconds += seconds
        self.device = device

    def die(self) -> None:
        """Note that the worker is gone."""
        self.is_alive, self.unit = False, ""


class Roster:
    """All workers of this process so far, written to `folder` now and then."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / ROSTER
        self._workers: list[WorkerStatus] = []
        self._written = 0.0

    def add(self, worker: str, host: str, device: str) -> WorkerStatus:
        """Enter a worker that is ready."""
        status = WorkerStatus(worker, host, device, began=time.time())
        self._workers.append(status)
        return status

    def show(self, *, now: bool = False) -> None:
        """Write the roster if the last time was some seconds ago."""
        if self._workers and (now or time.monotonic() - self._written > WRITE_EVERY):
            self._written = time.monotonic()
            rows = [asdict(_row(status)) for status in self._workers]
            atomic.write_json(self._path, {"workers": rows})

    def end(self) -> None:
        """Enter that all workers are gone."""
        for status in self._workers:
            status.die()
        self.show(now=True)


def _row(status: WorkerStatus) -> WorkerRow:
    hours = status.busy_seconds / 3600
    return WorkerRow(
        worker=status.worker,
        host=status.host,
        device=status.device,
        is_alive=status.is_alive,
        unit=status.unit,
        since=status.since,
        num_done=status.num_done,
        units_per_hour=status.num_done / hours if hours else 0.0,
        num_failures=status.num_failures,
    )
