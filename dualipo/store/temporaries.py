"""Temporary files and folders: how they are named, and how those of killed commands are removed.

    .tmp-HOST-PID-ID-NAME    HOST is a digest of the host's name; ID is drawn for each, and begins
                             alike for all that one process makes

A name says whose it is. So whoever publishes something in a folder first removes what commands that
no longer run have left there (a killed export, pipeline or fork), and nobody else's. Temporaries of
another host are left alone, as nobody here knows whether it still runs.
"""

import functools
import os
import re
import shutil
import socket
import uuid
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import xxhash

PREFIX = ".tmp-"
MAX_NAME = 255  # bytes of a file's name, on every usual file system

_OWNED = re.compile(re.escape(PREFIX) + r"([0-9a-f]{6})-(\d+)-([0-9a-f]{12})-")
_token = uuid.uuid4().hex[:6]  # begins the ids of this process, and of those forked from it
_swept: set[Path] = set()


def path_for(path: Path) -> Path:
    """Return a temporary path beside `path`, which keeps its suffix: encoders choose by it."""
    start = prefix()
    tail = os.fsencode(path.name)[len(start) - MAX_NAME :]
    return path.with_name(start + tail.decode(errors="ignore"))


def prefix() -> str:
    """Return the beginning of a new temporary's name."""
    return f"{PREFIX}{_host()}-{os.getpid()}-{_token}{uuid.uuid4().hex[:6]}-"


def sweep_once(folder: Path) -> None:
    """Remove what killed commands of this host left in a folder, once in each process."""
    if folder in _swept:
        return
    _swept.add(folder)
    for path in leftovers(folder):
        with suppress(OSError):  # another process may be removing it too
            path.unlink() if path.is_file() or path.is_symlink() else shutil.rmtree(path)


def leftovers(folder: Path) -> Iterator[Path]:
    """Yield the temporaries in a folder whose process no longer runs."""
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in list(entries):
            owned = _OWNED.match(entry.name)
            if owned and owned[1] == _host() and not _lives(int(owned[2]), owned[3]):
                yield Path(entry.path)


def unclaimed(folder: Path) -> Iterator[Path]:
    """Yield every temporary in a folder that no running process of this host has made."""
    with suppress(OSError):
        for path in sorted(folder.glob(f"{PREFIX}*")):
            owned = _OWNED.match(path.name)
            if not (owned and owned[1] == _host() and _lives(int(owned[2]), owned[3])):
                yield path


def _lives(pid: int, drawn: str) -> bool:
    """Tell whether the process that drew an id still runs; a reused number counts as running."""
    if pid == os.getpid():  # in a container every command may have the number 1
        return drawn.startswith(_token)
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


@functools.cache
def _host() -> str:
    return xxhash.xxh32(socket.gethostname().encode()).hexdigest()[:6]
