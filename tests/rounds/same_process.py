"""An engine like that of workers, in the run's own process: for tests that need no process to die.

What a worker is told and what it answers is pickled, and its bench is a worker's.
"""

import pickle
from collections.abc import Generator, Iterable
from pathlib import Path
from typing import Any

import pytest

from dualipo.config import Workers
from dualipo.rounds import run as runs
from dualipo.workers.job import Done, Engine, Job, Work
from dualipo.workers.worker import Worker

BY_WORKERS = "workers.engine=processes"  # the engine's setting, beside `use`


class SameProcess:
    """One worker, which is asked for each unit in its turn."""

    num_lost = 0

    def __init__(self) -> None:
        self._worker = Worker()

    def run(self, job: Job, works: Iterable[Work]) -> Generator[Done, None, None]:
        """Yield the units in their order; raise what the worker refuses or fails with."""
        for work in works:
            outcome = pickle.loads(pickle.dumps(self._worker.do(*_sent(job, work))))
            if outcome.refusal is not None:
                raise outcome.refusal
            assert not outcome.failure, outcome.failure
            yield Done(work, outcome.row, outcome.cost)

    def rest(self) -> None:
        """Free the models."""
        self._worker.rest()

    def close(self) -> None:
        """Do nothing: no process is to be ended."""


def use(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give this engine to every run whose recipe asks for workers."""
    chosen = runs.engine_of

    def engine_of(settings: Workers, run_path: Path, *, bench: Any) -> Engine:
        if settings.engine == "inline":
            return chosen(settings, run_path, bench=bench)
        return SameProcess()

    monkeypatch.setattr(runs, "engine_of", engine_of)


def _sent(job: Job, work: Work) -> tuple[Job, Work]:
    told: tuple[Job, Work] = pickle.loads(pickle.dumps((job, work)))
    return told
