"""A crew of processes on this machine, one for each device; a dead one is replaced at once."""

import itertools
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing import connection
from multiprocessing.connection import Connection
from pathlib import Path

from dualipo.errors import DualipoError
from dualipo.workers import process
from dualipo.workers.crew import REST_SECONDS, START_SECONDS, Answered, Died, Ready, Refused, Told
from dualipo.workers.job import Job, Work
from dualipo.workers.worker import Outcome, Place, Token


@dataclass
class _Spawned:
    """A process with the driver's end of its connection, and its place among the devices."""

    process: "subprocess.Popen[bytes]"
    connection: Connection
    slot: int
    log: Path
    since: float


class ProcessCrew:
    """Processes that run `process.py`, each with its own environment, as CUDA_VISIBLE_DEVICES."""

    def __init__(
        self, environments: Sequence[Mapping[str, str]], *, token: Token, log_folder: Path
    ) -> None:
        self._environments = environments
        self._token = token
        self._log_folder = log_folder
        self._counts = [itertools.count() for _ in environments]
        self._spawned: dict[str, _Spawned] = {}
        self._ready: set[str] = set()
        for slot in range(len(environments)):
            self._spawn(slot)

    def poll(self, seconds: float) -> list[Told]:
        """Return what the processes answered, and which died; end those that never begin."""
        for name, each in self._spawned.items():
            if name not in self._ready and time.monotonic() - each.since > START_SECONDS:
                each.process.kill()
        names = {id(each.connection): name for name, each in self._spawned.items()}
        waiting = [each.connection for each in self._spawned.values()]
        readable = connection.wait(waiting, timeout=seconds)
        return [told for each in readable if (told := self._read(names[id(each)])) is not None]

    def hand(self, worker: str, job: Job, work: Work) -> None:
        """Send a unit; a process that died meanwhile is told by the next poll."""
        with suppress(OSError):
            self._spawned[worker].connection.send((job, work))

    def end(self, worker: str) -> None:
        """Kill a process, which need not answer; also a stopped one ends."""
        self._spawned[worker].process.kill()

    def rest(self) -> None:
        """Have each process free its models and wait for it; kill one that does not answer."""
        ready = [each for name, each in self._spawned.items() if name in self._ready]
        deadline = time.monotonic() + REST_SECONDS
        for each in ready:
            with suppress(OSError):  # one that died is told by the next poll
                each.connection.send(process.REST)
        for each in ready:
            with suppress(EOFError, OSError):
                if each.connection.poll(max(0.0, deadline - time.monotonic())):
                    each.connection.recv()
                else:  # what it holds on its device would be in the way of a training
                    each.process.kill()

    def close(self) -> None:
        """Kill every process: what is under way is not committed, and the next start sweeps it."""
        for each in self._spawned.values():
            each.process.kill()
        for each in self._spawned.values():
            each.process.wait()
            each.connection.close()
        self._spawned.clear()

    def _spawn(self, slot: int) -> None:
        ours, theirs = socket.socketpair()
        name = f"{slot}" if not (count := next(self._counts[slot])) else f"{slot}.{count}"
        log = self._log_folder / f"worker-{slot}.log"
        with theirs, open(log, "ab") as said:
            started = subprocess.Popen(
                [sys.executable, "-m", process.__name__, str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=said,
                env={**os.environ, **self._environments[slot]},
            )
        driver_end = Connection(ours.detach())
        self._spawned[name] = _Spawned(started, driver_end, slot, log, time.monotonic())
        with suppress(OSError):
            driver_end.send(self._token)

    def _read(self, name: str) -> Told | None:
        each = self._spawned[name]
        try:
            return self._told(name, each.connection.recv())
        except (EOFError, OSError):
            return self._bury(name)

    def _told(self, name: str, answer: object) -> Told | None:
        if answer == process.REST:  # later than `rest` waited
            return None
        if isinstance(answer, Place):
            self._ready.add(name)
            return Ready(name, answer, self._spawned[name].slot)
        if isinstance(answer, DualipoError):
            return Refused(name, answer)
        assert isinstance(answer, Outcome), answer
        return Answered(name, answer)

    def _bury(self, name: str) -> Died:
        """Note the death of a process, and start another in its place."""
        each = self._spawned.pop(name)
        each.connection.close()
        each.process.kill()
        code = each.process.wait()
        self._spawn(each.slot)
        how = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with {code}"
        return Died(name, f"its worker {how}, see {each.log}")
