"""Whole runs by workers make what one process makes, whoever is killed (FAULTS.md 42).

`python -m tests.rounds.kill_all --workers` kills the driver at many points, and workers all along.
"""

import signal
from pathlib import Path

import pytest

from dualipo.events import ClockEvent
from dualipo.store import worker_rows
from tests.rounds import harness as harnesses
from tests.rounds.harness import Harness

pytestmark = pytest.mark.slow

PROCESSES = ("workers.engine=processes", "workers.num_workers=2")
# A worker has failpoints of its own: each process ends at its 60th, and so does its successor.
DIES_AT = "kill@60"


def test_fault_42_two_processes_of_which_all_are_killed_make_what_one_makes(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    with harnesses.elsewhere(harness) as path:
        monkeypatch.setenv("DUALIPO_FAIL", DIES_AT)
        recipe = harness.recipe(path, *PROCESSES)
        assert harnesses.ended(recipe, fail="kill@150") == -signal.SIGKILL, harnesses.log(path)
        assert harnesses.ended(recipe) == 0, harnesses.log(path)
        assert harnesses.state(path) == harness.clean
        assert any(row.num_failures for row in worker_rows.read(path)), "no worker was killed"
        with harnesses.ledger_of(path) as ledger:
            clocks = [clock for _, clock in ledger.events(ClockEvent) if clock.host]
        assert clocks, "no unit says where it was done"
        assert (Path(path) / "logs" / "worker-1.log").is_file()
