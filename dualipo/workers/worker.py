"""The worker's side: it sees the driver's files, opens what a job needs, does units, reports.

A refusal (`DualipoError`) is the same for every worker, so the driver raises it as if it had done
the unit itself. Anything else counts as a failure of the unit, and the worker ends after it: what a
library or a device did in the middle of a unit is unknown, and a new process knows nothing of it.
"""

import gc
import os
import platform
import resource
import socket
import sys
import time
import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dualipo.errors import DualipoError, StorageError
from dualipo.workers.job import Cost, Job, Work


@dataclass(frozen=True)
class Token:
    """A file that the driver holds in the run directory, with its content."""

    path: Path
    content: bytes


@dataclass(frozen=True)
class Place:
    """Where a worker runs."""

    pid: int
    host: str
    device: str


@dataclass(frozen=True)
class Outcome:
    """What became of a unit: its row and cost, or why there is none."""

    row: Any = None
    cost: Cost | None = None
    refusal: DualipoError | None = None  # the same for every worker: the stage ends
    failure: str = ""  # of this worker, perhaps: another one tries


class Stopwatch:
    """A clock for a unit's cost; it runs from its creation."""

    def __init__(self) -> None:
        self._start = time.monotonic()

    def read(self) -> Cost:
        """Return the cost so far."""
        peak_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        seconds = time.monotonic() - self._start
        return Cost(seconds, peak_kb / 1024, device(), socket.gethostname())


class Worker:
    """A worker, which keeps its bench from unit to unit and from job to job of an equal spec."""

    def __init__(self) -> None:
        self._spec: Any = None
        self._bench: Any = None

    def do(self, job: Job, work: Work) -> Outcome:
        """Do one unit; whatever is raised becomes part of the outcome."""
        watch = Stopwatch()
        try:
            if self._spec is None or self._spec != job.spec:
                self.rest()
                self._bench = job.open(job.spec)
                self._spec = job.spec
            return Outcome(job.work(self._bench, work.content), watch.read())
        except StorageError as fault:  # of this host, perhaps
            return Outcome(failure=f"{socket.gethostname()}: {fault}")
        except DualipoError as refusal:
            return Outcome(refusal=refusal)
        except Exception:  # a unit may fail in any way; the driver counts it and tells
            return Outcome(failure=f"{socket.gethostname()}: {traceback.format_exc().strip()}")

    def rest(self) -> None:
        """Free the bench and what its models hold on the device."""
        self._spec = self._bench = None
        gc.collect()
        if (torch := sys.modules.get("torch")) and torch.cuda.is_available():
            torch.cuda.empty_cache()


def begin(token: Token) -> Place:
    """Return where this worker runs, once it has seen the driver's files (fault 43)."""
    host = socket.gethostname()
    try:
        is_seen = token.path.read_bytes() == token.content
    except OSError:
        is_seen = False
    if not is_seen:
        raise StorageError(
            f"{token.path.parent}: the worker on {host} does not see what the driver writes there. "
            "Set output_dir to a folder on storage that every node mounts at the same path."
        )
    return Place(os.getpid(), host, device())


def device() -> str:
    """Return the name of the device that this process computes on, without importing torch."""
    torch = sys.modules.get("torch")
    if torch and torch.cuda.is_available():
        return str(torch.cuda.get_device_name(0))
    return f"cpu {platform.machine()}"
