"""A Ray cluster of two nodes on this machine, each with one processor.

`python -m tests.rounds.two_nodes` prints its address and keeps it until the standard input ends, so
that it outlives the drivers that a test kills, and not the test.
"""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def cluster() -> Iterator[Any]:
    """Start the cluster for this context."""
    from ray.cluster_utils import Cluster

    started = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    try:
        started.add_node(num_cpus=1)
        yield started
    finally:
        started.shutdown()


@contextmanager
def address_of_cluster() -> Iterator[str]:
    """Start the cluster in a process of its own for this context; yield its address."""
    command = [sys.executable, "-m", "tests.rounds.two_nodes"]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as keeper:
        assert keeper.stdout is not None
        address = keeper.stdout.readline().strip()
        assert address, "the cluster did not start: repeat the command"
        yield address


if __name__ == "__main__":
    with cluster() as running:
        print(running.address, flush=True)
        sys.stdin.read()
