"""The log of one process on a run: what the terminal said, and the error that ended it.

The last line of a log that ended with an error begins with `FAILED`, and with `WAITS` where people
have to answer first: `dualipo status` shows it.
"""

import re
import time
import traceback
from collections.abc import Iterator, Mapping
from pathlib import Path

from dualipo.amounts import duration
from dualipo.errors import WaitsForPeople
from dualipo.progress import Progress, readable
from dualipo.redaction import redact

FAILED = "failed at "
WAITS = "waits for people: "

_NAME = re.compile(r"attempt-([0-9]{1,9})\.log")


class LoggedProgress:
    """A progress that writes every stage and every line to a file, and passes all on."""

    def __init__(self, progress: Progress, path: Path) -> None:
        self._progress = progress
        self._path = path
        self._stage = "the start"

    def plan(self, units: Mapping[str, int]) -> None:
        """Pass the plan on."""
        self._progress.plan(units)

    def stage(self, name: str, *, round: int, attempt: int, total: int) -> None:
        """Write the stage that begins."""
        place = "before round 0" if round < 0 else f"round {round}, attempt {attempt}"
        self._stage = f"{readable(name)} ({place})"
        self._write(f"{self._stage}: {total} units")
        self._progress.stage(name, round=round, attempt=attempt, total=total)

    def advance(self, num: int = 1, **figures: float) -> None:
        """Pass the progress on."""
        self._progress.advance(num, **figures)

    def say(self, line: str) -> None:
        """Write a line, and show it."""
        self._write(line)
        self._progress.say(line)

    def close(self) -> None:
        """End the last stage."""
        self._progress.close()

    def fail(self, error: BaseException) -> None:
        """Write the error that ends the process, with where it arose."""
        told = " ".join(str(error).split()) or type(error).__name__
        if isinstance(error, WaitsForPeople):  # the run is sound
            self._write(f"{WAITS}{told}")
            return
        self._write("".join(traceback.format_exception(error)).rstrip())
        self._write(f"{FAILED}{self._stage}: {told}")

    def _write(self, text: str) -> None:
        with open(self._path, "a", encoding="utf-8") as file:
            file.write(f"{redact(text)}\n")


def numbered(folder: Path) -> Iterator[tuple[int, Path]]:
    """Yield the logs in a folder with their numbers; a copy that somebody made has another name."""
    for path in folder.glob("attempt-*.log"):
        if name := _NAME.fullmatch(path.name):
            yield int(name[1]), path


def last_failure(folder: Path) -> str | None:
    """Return the error that ended the newest process, and how long ago; None if none did."""
    return _last_line(folder, FAILED)


def last_wait(folder: Path) -> str | None:
    """Return whom the newest process left to answer, and how long ago; None if it did not."""
    return _last_line(folder, WAITS)


def _last_line(folder: Path, beginning: str) -> str | None:
    log = max((own for own in numbered(folder) if own[1].is_file()), default=(0, None))[1]
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines() if log else []
    if log is None or not lines or not lines[-1].startswith(beginning):
        return None
    seconds = max(0.0, time.time() - log.stat().st_mtime)
    return f"{lines[-1]} ({duration(seconds, 'clock')} ago)"
