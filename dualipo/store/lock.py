"""One process for one run directory (fault 45).

LOCK holds the owner's process id, host, boot id and start time. It is stale when the machine has
booted since, when no such process lives, or when the process id was given to a later one. A lock
of another host cannot be checked from here, so it holds until someone deletes it.
"""

import fcntl
import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from dualipo.errors import RunLocked
from dualipo.store import atomic


@dataclass(frozen=True)
class _Owner:
    pid: int
    host: str
    boot_id: str
    start_time: str


@dataclass(frozen=True)
class Lock:
    """A held lock."""

    path: Path
    owner: _Owner

    @classmethod
    def acquire(cls, path: Path) -> "Lock":
        """Take the lock, or raise RunLocked naming who has it."""
        me = _Owner(os.getpid(), socket.gethostname(), _boot_id(), _start_time(os.getpid()))
        with _alone(path.parent):
            holder = _read(path)
            if holder is not None and _alive(holder):
                raise RunLocked(
                    f"{path.parent}: process {holder.pid} on {holder.host} is using it. Wait for "
                    f"it or end it; if that process is gone for sure, delete {path}."
                )
            atomic.write_json(path, asdict(me), name="LOCK")
        return cls(path, me)

    def release(self) -> None:
        """Give the lock up, unless someone else took it meanwhile."""
        with _alone(self.path.parent):
            if _read(self.path) == self.owner:
                self.path.unlink()


def is_held(path: Path) -> bool:
    """Whether a process that lives, or one of another host, holds the lock at `path`."""
    holder = _read(path)
    return holder is not None and _alive(holder)


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Between reading a stale lock and replacing it, no one else may do the same."""
    with atomic.storage_errors(folder):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)


def _read(path: Path) -> _Owner | None:
    try:
        return _Owner(**json.loads(path.read_text()))
    except (FileNotFoundError, ValueError, TypeError):
        return None  # published whole, so what cannot be read was never a lock of ours


def _alive(owner: _Owner) -> bool:
    if owner.host != socket.gethostname():
        return True
    if owner.boot_id != _boot_id():
        return False
    try:
        os.kill(owner.pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass  # another user's process
    return _start_time(owner.pid) == owner.start_time


def _boot_id() -> str:
    return _read_proc(Path("/proc/sys/kernel/random/boot_id")).strip()


def _start_time(pid: int) -> str:
    """Clock ticks since boot at which `pid` started; "" for one that is dead but not yet reaped."""
    # The second field is the program's name in brackets, which may hold spaces.
    state_and_on = _read_proc(Path(f"/proc/{pid}/stat")).rpartition(") ")[2].split()
    return state_and_on[19] if state_and_on and state_and_on[0] != "Z" else ""


def _read_proc(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""  # not Linux, or the process is gone
