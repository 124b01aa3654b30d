"""A job without models, for tests of engines: a worker imports it by name."""

import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path

from dualipo.errors import DataError
from dualipo.workers.job import Job, Work


@dataclass(frozen=True)
class Sum:
    """Numbers to add, and what happens to the worker before it has added them."""

    numbers: tuple[int, ...]
    fate: str = ""
    folder: Path = Path()


def add(offset: int, asked: Sum) -> int:
    """Return the offset and the numbers together, if the unit's fate lets it."""
    met = asked.folder / "-".join(map(str, asked.numbers))
    is_first = not met.exists()
    if asked.fate:
        met.touch()
    if asked.fate == "always fails":
        raise RuntimeError("these numbers cannot be added")
    if asked.fate == "always kills" or (asked.fate == "kills once" and is_first):
        os.kill(os.getpid(), signal.SIGKILL)
    if asked.fate == "stops once" and is_first:
        os.kill(os.getpid(), signal.SIGSTOP)
    if asked.fate == "refuses":
        raise DataError("numbers: none of them is even. Give other numbers.")
    if asked.fate == "is slow":
        time.sleep(600)
    return offset + sum(asked.numbers)


def identity(offset: int) -> int:
    """Open a bench that is a number."""
    return offset


def job(offset: int = 100) -> Job:
    return Job(identity, offset, add)


def works(folder: Path, fates: dict[int, str], *, num: int = 8) -> list[Work]:
    """Return units of two numbers each, some of which have a fate."""
    return [
        Work(f"sum {n}", (f"{n}", f"{n + 1}"), Sum((n, n + 1), fates.get(n, ""), folder))
        for n in range(num)
    ]
