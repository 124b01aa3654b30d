"""Whole runs by workers make what one process makes, whoever is killed (FAULTS.md 42).

`python -m tests.rounds.kill_all --workers` kills the driver at many points, and workers all along.
"""

import signal
from importlib.util import find_spec
from pathlib import Path

import pytest

from dualipo.config import Config
from dualipo.events import ClockEvent
from dualipo.progress import PlainProgress
from dualipo.rounds import loop
from dualipo.store import worker_rows
from tests.rounds import harness as harnesses
from tests.rounds.harness import Harness

pytestmark = pytest.mark.slow

PROCESSES = ("workers.engine=processes", "workers.num_workers=2")
# A worker has failpoints of its own: each process ends at its 39th, and so does its successor. It
# stands before a clip's renaming, so half-written files are left.
DIES_AT = "kill@39"
TOO_SLOW = "timed out during startup"  # Ray's words; its limit cannot be set


def test_fault_42_two_processes_of_which_all_are_killed_make_what_one_makes(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    with harnesses.elsewhere(harness) as path:
        monkeypatch.setenv("DUALIPO_FAIL", DIES_AT)
        recipe = harness.recipe(path, *PROCESSES)
        assert harnesses.ended(recipe, fail="kill@60") == -signal.SIGKILL, harnesses.log(path)
        assert harnesses.ended(recipe) == 0, harnesses.log(path)
        assert harnesses.state(path) == harness.clean
        assert any(row.num_failures for row in worker_rows.read(path)), "no worker was killed"
        with harnesses.ledger_of(path) as ledger:
            clocks = [clock for _, clock in ledger.events(ClockEvent) if clock.host]
        assert clocks, "no unit says where it was done"
        assert (Path(path) / "logs" / "worker-1.log").is_file()


@pytest.mark.skipif(find_spec("ray") is None, reason="Ray is not installed")
def test_two_actors_on_two_nodes_make_what_one_process_makes(harness: Harness) -> None:
    with harnesses.elsewhere(harness) as path:
        recipe = harness.recipe(path, "workers.engine=ray", "workers.num_workers=2")
        assert harnesses.in_child(lambda: _on_two_nodes(recipe), path=path) == 0, harnesses.log(
            path
        )
        assert harnesses.state(path) == harness.clean
        assert {row.worker[0] for row in worker_rows.read(path)} == {"0", "1"}


def _on_two_nodes(recipe: Config) -> None:
    """Run on a cluster of two nodes of one processor each, which ends with this."""
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    try:
        cluster.add_node(num_cpus=1)
        workers = recipe.workers.model_copy(update={"address": cluster.address})
        loop.run(recipe.model_copy(update={"workers": workers}), progress=PlainProgress())
    finally:
        cluster.shutdown()
