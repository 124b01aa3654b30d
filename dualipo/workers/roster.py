"""The roster: what each worker is doing, written into the run's folder for the dashboard.

It is for people alone. Only the last state is kept, and a run without workers has no roster.
"""

import time
from dataclasses import asdict
from pathlib import Path

from dualipo.store import atomic
from dualipo.store.worker_rows import ROSTER, WorkerRow

WRITE_EVERY = 2.0  # seconds


class Roster:
    """All workers of this process so far, written to `folder` now and then."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / ROSTER
        self._rows: list[WorkerRow] = []
        self._written = 0.0

    def add(self, worker: str, host: str, device: str) -> WorkerRow:
        """Enter a worker that is ready."""
        row = WorkerRow(worker, host, device)
        self._rows.append(row)
        return row

    def show(self, *, now: bool = False) -> None:
        """Write the roster if the last time was some seconds ago."""
        if self._rows and (now or time.monotonic() - self._written > WRITE_EVERY):
            self._written = time.monotonic()
            atomic.write_json(self._path, {"workers": [asdict(row) for row in self._rows]})

    def end(self) -> None:
        """Enter that all workers are gone."""
        for row in self._rows:
            row.die()
        self.show(now=True)
