"""One process for one run directory (fault 45).

The owner holds an exclusive `flock` on the file LOCK, which the kernel takes back however the
process ends. The file says who the owner is and since when, for whoever is refused.

The owner of another host is taken at the file's word, even where the kernel would give the lock:
some network file systems (NFS mounted with `nolock` or `local_lock`, Lustre with `localflock`) do
not show one host the locks of another. Such a LOCK holds until its owner releases it or somebody
deletes the file. Where a scheduler starts the same job again on another host, after the first was
lost, the owner is that job's own start before and is gone for sure.
"""

import fcntl
import json
import os
import socket
import time
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from io import FileIO
from pathlib import Path
from typing import Any

from dualipo import failpoints
from dualipo.errors import RunLocked
from dualipo.store import atomic

_PATIENCE_SECONDS = 0.2  # `is_held` takes a free lock for an instant, which must refuse nobody


@dataclass(frozen=True)
class Lock:
    """A held lock; the kernel gives it up when `file` is closed."""

    path: Path
    file: FileIO

    @classmethod
    def acquire(cls, path: Path) -> "Lock":
        """Take the lock, or raise RunLocked naming the owner."""
        with atomic.storage_errors(path), ExitStack() as stack:
            file = stack.enter_context(FileIO(os.open(path, os.O_RDWR | os.O_CREAT, 0o666), "r+"))
            is_free = _take(file, fcntl.LOCK_EX, seconds=_PATIENCE_SECONDS)
            owner = _read(file)
            if not is_free or (_is_elsewhere(owner) and not _is_start_before(owner)):
                raise RunLocked(_refusal(path, owner))
            if not _is_at(path, file):  # its owner deleted it after we opened it
                return cls.acquire(path)
            failpoints.hit("LOCK.before_write")
            _write(file)
            failpoints.hit("LOCK.after_write")
            stack.pop_all()
        return cls(path, file)

    def release(self) -> None:
        """Delete the file and give the lock up; a file that is not ours any more stays."""
        if not self.file.closed and _is_at(self.path, self.file):
            self.path.unlink()
        self.file.close()


def is_held(path: Path) -> bool:
    """Tell whether a process of this host holds the lock, or one of another by its own word."""
    try:
        with FileIO(path) as file:
            return _is_elsewhere(_read(file)) or not _take(file, fcntl.LOCK_SH, seconds=0.0)
    except FileNotFoundError:
        return False
    except PermissionError:  # the owner deletes it when it lets go
        return True


def _take(file: FileIO, kind: int, *, seconds: float) -> bool:
    """Lock the open file; return False where another process still has it after `seconds`."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            fcntl.flock(file, kind | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            if time.monotonic() >= deadline:
                return False
            time.sleep(0.01)


def _refusal(path: Path, owner: dict[str, Any]) -> str:
    if not owner:
        return f"{path.parent}: another process is using it. Wait for it or end it."
    since = owner.get("since", "an unknown time")
    fact = f"process {owner['pid']} on {owner['host']} has been using it since {since}"
    remedy = "Wait for it or end it"
    if _is_elsewhere(owner):  # the kernel of this host cannot tell whether it lives
        remedy += f"; if that process is gone for sure, delete {path}"
    return f"{path.parent}: {fact}. {remedy}."


def _is_elsewhere(owner: dict[str, Any]) -> bool:
    return bool(owner) and owner["host"] != socket.gethostname()


def _job() -> dict[str, Any]:
    """Return the scheduler's name of this job, which a restart keeps, and the number of restarts.

    SkyPilot keeps a managed job's name and counts nothing; it starts a job again only when all of
    its nodes are gone.
    """
    if name := os.environ.get("SLURM_JOB_ID"):
        return {"job": f"slurm {name}", "start": int(os.environ.get("SLURM_RESTART_COUNT", 0))}
    if name := os.environ.get("SKYPILOT_TASK_ID"):
        return {"job": f"skypilot {name}", "start": None}
    return {}


def _is_start_before(owner: dict[str, Any]) -> bool:
    own = _job()
    if not own or owner.get("job") != own["job"]:
        return False
    return own["start"] is None or own["start"] > owner.get("start", own["start"])


def _is_at(path: Path, file: FileIO) -> bool:
    """Tell whether the open file is still the one at `path`."""
    try:
        return os.path.samestat(path.stat(), os.fstat(file.fileno()))
    except FileNotFoundError:
        return False


def _write(file: FileIO) -> None:
    since = datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    owner = {"pid": os.getpid(), "host": socket.gethostname(), "since": since, **_job()}
    file.truncate(0)
    file.seek(0)
    file.write(json.dumps(owner).encode())
    os.fsync(file.fileno())  # or other hosts would not see it


def _read(file: FileIO) -> dict[str, Any]:
    """Return what the owner wrote; nothing where it has not written yet, or never could."""
    try:
        owner = json.loads(file.read())
    except (ValueError, RecursionError):
        return {}
    return owner if isinstance(owner, dict) and {"pid", "host"} <= owner.keys() else {}
