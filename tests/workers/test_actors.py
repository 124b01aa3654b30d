"""Workers as Ray actors on a cluster of two nodes on this machine, of which one leaves."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dualipo.errors import StorageError
from dualipo.store import worker_rows
from dualipo.workers.dispatch import CrewEngine
from dualipo.workers.roster import Roster
from dualipo.workers.worker import Token
from tests.workers import sums
from tests.workers.test_processes import SUMS

pytest.importorskip("ray")
pytestmark = pytest.mark.slow
TOO_SLOW = "timed out during startup"  # Ray's words; its limit cannot be set


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    import ray
    from ray.cluster_utils import Cluster

    started = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    try:
        started.add_node(num_cpus=1)
    except Exception as slow:
        started.shutdown()
        if TOO_SLOW not in str(slow):
            raise
        pytest.skip("this machine is too busy for Ray, which gives a node 30 s to start")
    ray.init(started.address, log_to_driver=False)
    yield started
    ray.shutdown()
    started.shutdown()


def engine(folder: Path, *, num: int = 2, unit_timeout: float = 120.0) -> CrewEngine:
    from dualipo.workers.actors import RayCrew

    token = Token(folder / "LOCK", b"the driver")
    token.path.write_bytes(token.content)
    return CrewEngine(
        lambda: RayCrew(num, address=None, num_gpus=None, token=token),
        unit_timeout=unit_timeout,
        max_failures=3,
        roster=Roster(folder),
    )


def test_fault_42_actors_die_or_stop_and_a_node_leaves_and_joins(
    cluster: Any, tmp_path: Path
) -> None:
    started = engine(tmp_path, unit_timeout=15.0)
    fates = {1: "kills once", 3: "stops once"}
    rows = {}
    for each in started.run(sums.job(), sums.works(tmp_path, fates)):
        rows[each.work.name] = each.row
    assert rows == SUMS
    leaving = cluster.list_all_nodes()[-1]
    cluster.remove_node(leaving, allow_graceful=False)
    again = {each.work.name: each.row for each in started.run(sums.job(0), _plain(tmp_path))}
    assert again == {name: number - 100 for name, number in SUMS.items()}
    cluster.add_node(num_cpus=1)
    for each in started.run(sums.job(200), _plain(tmp_path)):
        rows[each.work.name] = each.row
    assert rows == {name: number + 100 for name, number in SUMS.items()}
    started.close()  # which writes the roster's last state
    assert sum(row.num_failures for row in worker_rows.read(tmp_path)) >= 2


def _plain(folder: Path) -> list[Any]:
    return sums.works(folder, {})


def test_a_node_without_the_run_s_folder_says_so_at_once(cluster: Any, tmp_path: Path) -> None:
    started = engine(tmp_path)
    (tmp_path / "LOCK").write_bytes(b"a folder of the same name on another disk")
    with pytest.raises(StorageError, match="every node mounts"):
        list(started.run(sums.job(), _plain(tmp_path)))


def test_fault_10_a_signal_still_ends_a_run_between_two_units(cluster: Any) -> None:
    script = (
        "import os, signal, sys\n"
        "from dualipo import interrupt\n"
        "from dualipo.workers import actors\n"
        "interrupt.install()\n"
        f"actors._connect({cluster.address!r}, 1)\n"
        "os.kill(os.getpid(), signal.SIGTERM)\n"
        "try:\n"
        "    interrupt.check()\n"
        "except interrupt.Interrupted as stopped:\n"
        "    sys.exit(stopped.exit_code)\n"
    )
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert ended.returncode == 128 + signal.SIGTERM, ended.stderr
