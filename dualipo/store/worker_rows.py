"""The rows of `workers.json`, by which a run tells people what its workers are doing."""

import time
from dataclasses import dataclass
from pathlib import Path

from dualipo.store import atomic

ROSTER = "workers.json"


@dataclass
class WorkerRow:
    """A worker's last known state; `since` is when its unit began, in seconds since 1970."""

    worker: str
    host: str
    device: str
    is_alive: bool = True
    unit: str = ""
    since: float = 0.0
    num_done: int = 0
    num_failures: int = 0
    busy_seconds: float = 0.0

    @property
    def units_per_hour(self) -> float:
        """Return how many units it does in an hour of work; 0 before the first."""
        return self.num_done * 3600 / self.busy_seconds if self.busy_seconds else 0.0

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


def read(run_path: Path) -> list[WorkerRow]:
    """Return the workers of the run's last process; none where it works by itself."""
    path = run_path / ROSTER
    if not path.is_file():
        return []
    return [WorkerRow(**row) for row in atomic.read_json(path)["workers"]]
