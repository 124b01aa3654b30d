"""The rows of `workers.json`, by which a run tells people what its workers are doing."""

from dataclasses import dataclass
from pathlib import Path

from dualipo.store import atomic

ROSTER = "workers.json"


@dataclass(frozen=True)
class WorkerRow:
    """A worker as it was when the roster was written; `since` is when its unit began."""

    worker: str
    host: str
    device: str
    is_alive: bool
    unit: str
    since: float
    num_done: int
    units_per_hour: float
    num_failures: int


def read(run_path: Path) -> list[WorkerRow]:
    """Return the workers of the run's last process; none where it works by itself."""
    path = run_path / ROSTER
    if not path.is_file():
        return []
    return [WorkerRow(**row) for row in atomic.read_json(path)["workers"]]
