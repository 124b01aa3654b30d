"""The processes that share a training, as the driver of a run starts them through torchrun.

    driver                                torchrun's processes (rank_process.py)
    write job.json, start torchrun   ->   read job.json, load the models, train together
    report each step                 <-   rank 0 prints one JSON line a step
    read result.json, return it      <-   rank 0 publishes the weights and writes result.json

Only the driver writes the ledger. A rank that dies takes the others along, and the driver starts
all of them again from the last checkpoint.

On several machines the driver, which is node 0, leaves a call in the run's folder. The others wait
for it (`join`, that is `dualipo join`) and start torchrun there. The rendezvous is torchrun's
static one, at the driver's address: its dynamic one may give rank 0 to a machine whose output
nobody reads.
"""

import contextlib
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from dualipo import interrupt
from dualipo.config import Align, Critic
from dualipo.errors import ConfigError, DataError, StageError
from dualipo.store import atomic

MAX_RESTARTS = 3
DRIVER = "DUALIPO_DRIVER"  # the variable that names the process for which the ranks work
RESULT, CALL = "result.json", "call.json"
_JOB = "job.json"
_POLL_SECONDS = 1.0
_GRACE_SECONDS = 60.0  # for ranks to end after those of the driver's machine have ended

OnStep = Callable[[int, dict[str, float]], None]


@dataclass(frozen=True)
class Team:
    """The processes of a training: who asks for them, how many, and where machines look for it."""

    group: str  # of settings: "align" or "critic"
    num_processes: int
    num_nodes: int
    call_path: Path

    @property
    def num_on_a_node(self) -> int:
        """The number of processes on each machine."""
        return self.num_processes // self.num_nodes


def team_of(group: str, asked: Align | Critic, run_path: Path) -> Team:
    """Return the processes that a group of settings asks for, in the run at `run_path`."""
    return Team(group, asked.num_processes, asked.num_nodes, run_path / CALL)


@dataclass(frozen=True)
class Call:
    """One start of the ranks, which machines join; each start has an address of its own."""

    module: str
    job_path: str
    num_on_a_node: int
    num_nodes: int
    host: str
    port: int

    def command(self, node_rank: int) -> list[str]:
        """Return the words that start torchrun on one of the machines."""
        alone = ["--standalone"]
        address = ["--master-addr", self.host, "--master-port", str(self.port)]
        several = ["--nnodes", str(self.num_nodes), "--node-rank", str(node_rank), *address]
        return [
            *(sys.executable, "-m", "torch.distributed.run"),
            *(several if self.num_nodes > 1 else alone),
            # Ranks that torchrun itself starts again share its store; gloo may wait there for ever.
            *("--nproc-per-node", str(self.num_on_a_node), "--max-restarts", "0"),
            *("-m", self.module, self.job_path),
        ]


def run(
    module: str, job: Mapping[str, Any], *, team: Team, folder: Path, on_step: OnStep
) -> dict[str, Any]:
    """Start the ranks, each `python -m MODULE JOB`, report their steps, and return their result.

    `job` holds JSON values, and under "peer_timeout" for how long a rank waits for another one.
    """
    require_devices(team)
    job_path, result_path = folder / _JOB, folder / RESULT
    result_path.unlink(missing_ok=True)
    atomic.write_json(job_path, dict(job))
    for start in range(MAX_RESTARTS + 1):
        if start:
            told = f"{folder}: a rank ended with an error (see above). All start again, "
            print(f"{told}{start} of {MAX_RESTARTS} times.", file=sys.stderr)
        with _called(module, job_path, team) as call:
            code = _wait_for_ranks(call.command(0), on_step)
        interrupt.check()
        if not code:
            break
    if code or not result_path.exists():
        raise StageError(
            f"{folder}: the processes of the training ended with code {code} (their messages are "
            "above). Repeat the command to go on from the last checkpoint."
        )
    result: dict[str, Any] = atomic.read_json(result_path)
    job_path.unlink()
    result_path.unlink()
    return result


def require_devices(team: Team) -> None:
    """Raise ConfigError where this machine has devices, but fewer than processes."""
    num_devices = torch.cuda.device_count()
    if 0 < num_devices < team.num_on_a_node:
        most = num_devices * team.num_nodes
        raise ConfigError(
            f"{team.group}.num_processes is {team.num_processes} and {team.group}.num_nodes is "
            f"{team.num_nodes}, this machine has {num_devices} devices. Set "
            f"{team.group}.num_processes to {most} or fewer."
        )


def join(call_path: Path, *, node_rank: int, goes_on: Callable[[], bool]) -> int:
    """Take part in the trainings of a run that call for this machine; return how many starts.

    It ends when `goes_on` says that the run has ended. Ranks that hang on a peer which is gone are
    ended once the driver has ended its own.
    """
    joined: Call | None = None
    num_joined = 0
    while goes_on():
        call = _read(call_path)
        if call is None or call == joined or node_rank >= call.num_nodes:
            _pause()
            continue
        joined, num_joined = call, num_joined + 1
        with _started(call.command(node_rank)) as torchrun:
            while torchrun.poll() is None and goes_on() and _read(call_path) == call:
                _pause()
            with contextlib.suppress(subprocess.TimeoutExpired):
                torchrun.wait(_GRACE_SECONDS)
    return num_joined


@contextlib.contextmanager
def _called(module: str, job_path: Path, team: Team) -> Iterator[Call]:
    """Call the other machines, if the training has any; withdraw the call at the end."""
    call = Call(
        module=module,
        job_path=str(job_path.absolute()),
        num_on_a_node=team.num_on_a_node,
        num_nodes=team.num_nodes,
        host=os.environ.get("MASTER_ADDR") or socket.gethostname(),
        port=_free_port(),
    )
    if team.num_nodes > 1:
        atomic.write_json(team.call_path, asdict(call))
    try:
        yield call
    finally:
        team.call_path.unlink(missing_ok=True)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("", 0))
        return int(probe.getsockname()[1])


def _read(call_path: Path) -> Call | None:
    try:
        return Call(**atomic.read_json(call_path))
    except (DataError, FileNotFoundError):
        return None


def _pause() -> None:
    interrupt.check()
    time.sleep(_POLL_SECONDS)


@contextlib.contextmanager
def _started(command: list[str], **streams: Any) -> Iterator["subprocess.Popen[str]"]:
    """Start torchrun in a session of its own, so that a Ctrl-C is the driver's affair; end it."""
    with contextlib.ExitStack() as stack:
        torchrun = subprocess.Popen(
            command,
            text=True,
            env={"OMP_NUM_THREADS": "1", **os.environ, DRIVER: str(os.getpid())},
            start_new_session=True,
            **streams,
        )
        stack.callback(torchrun.wait)
        stack.callback(torchrun.terminate)
        yield torchrun


def _wait_for_ranks(command: list[str], on_step: OnStep) -> int:
    """Run torchrun to its end and return its exit code; an interrupt ends it."""
    with _started(command, stdout=subprocess.PIPE) as torchrun:
        assert torchrun.stdout is not None
        for line in torchrun.stdout:
            _report(line, on_step)
            interrupt.check()
        return torchrun.wait()


def _report(line: str, on_step: OnStep) -> None:
    """Hand a step's line to `on_step`, and pass any other line on: a library printed it."""
    try:
        step = json.loads(line)
    except json.JSONDecodeError:
        step = None
    if isinstance(step, dict) and step.keys() == {"step", "metrics"}:
        on_step(step["step"], step["metrics"])
    else:
        print(line, end="", file=sys.stderr)
