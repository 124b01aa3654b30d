"""Metrics as JSON lines, without secrets (fault 62).

A line holds at least `step`, and is flushed at once, so that a killed run keeps its curves. A
resumed run repeats the steps after its last checkpoint, and `read_metrics` lets the later line win.
The environment, where tokens live, is never written anywhere.

Left out: external trackers. They read this file (`evaluation/share/trackers.py`).
"""

import json
import math
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from dualipo import text_files
from dualipo.errors import DataError
from dualipo.redaction import redact

OF_WORK, OF_ROUNDS = "work.", "round"  # stages of lines that are no step of a training
_WORK = f'"stage": "{OF_WORK}'.encode()  # is in a line of work, and in no other
_TAIL = 1 << 16  # bytes that are looked at for the end of the last whole line
_KEY = ("round", "attempt", "stage", "step")


class Metrics:
    """A writer that appends lines to the file at `path`; it first cuts off a torn last line."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._stream = open(path, "a+b")  # noqa: SIM115 - open for the object's life
        _cut_torn_line(self._stream)

    def log(self, step: int, **values: Any) -> None:
        """Write one line: `step` and `values` (numbers, strings, lists of them)."""
        line = json.dumps({"step": step} | _finite(redact(values)), allow_nan=False)
        self._stream.write(line.encode() + b"\n")
        self._stream.flush()

    def close(self) -> None:
        """Close the file."""
        self._stream.close()

    def __enter__(self) -> "Metrics":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def read_metrics(path: Path, *, of_training: bool = False) -> list[dict[str, Any]]:
    """Read the lines, one for each (round, attempt, stage, step); leave out a torn last line.

    `of_training` leaves out all that is no step of a training, without reading each such line.
    """
    rows: dict[tuple[Any, ...], dict[str, Any]] = {}
    for number, line in enumerate(_whole_lines(path), start=1):
        if of_training and _WORK in line:
            continue
        row = _row(line, f"{path}:{number}")
        key = tuple(row.get(name) for name in _KEY)
        rows[key] = rows.get(key, {}) | row
    return [row for row in rows.values() if not of_training or is_of_training(row)]


def _whole_lines(path: Path) -> Iterator[bytes]:
    """Yield the lines, without a torn last one; a large round has several for each of its units."""
    if path.exists():
        with open(path, "rb") as stream:
            for line in stream:
                if line.endswith(b"\n"):
                    yield line[:-1]


def is_of_training(row: Mapping[str, Any]) -> bool:
    """Tell whether a line is a step of a training, and no cost of work or signal of a round."""
    stage = str(row.get("stage"))
    return stage != OF_ROUNDS and not stage.startswith(OF_WORK)


def forget(path: Path, curves: Collection[tuple[int, int, str]]) -> None:
    """Remove the lines of these curves, each named by round, attempt and stage."""
    if not path.exists() or not curves:
        return
    rows = [
        row
        for row in read_metrics(path)
        if (row.get("round"), row.get("attempt"), row.get("stage")) not in curves
    ]
    temporary = path.with_name(f"{path.name}.new")
    temporary.write_text("".join(json.dumps(row) + "\n" for row in rows))
    temporary.replace(path)


def read_new(path: Path, offset: int) -> tuple[list[dict[str, Any]], int]:
    """Read the whole lines after `offset` bytes, and return the offset at which they end.

    This is for a process that reads while another writes. A whole line never changes; a file that
    is shorter than `offset` is another one, and is read from its start.
    """
    if not path.exists():
        return [], 0
    with open(path, "rb") as stream:
        stream.seek(offset if offset <= path.stat().st_size else 0)
        start, content = stream.tell(), stream.read()
    whole = content[: content.rfind(b"\n") + 1]
    place = f"{path}, after byte {start}"
    return [_row(line, place) for line in whole.split(b"\n")[:-1]], start + len(whole)


def _row(line: bytes, place: str) -> dict[str, Any]:
    """Return what a line holds; `place` says in an error where the line stands."""
    try:
        row = text_files.json_value(line.decode())
    except ValueError as broken:
        raise DataError(f"{place}: this is not JSON ({broken}). Delete that line.") from None
    if not isinstance(row, dict):
        raise DataError(f"{place}: this is no object. Delete that line.")
    if odd := [name for name in _KEY if isinstance(row.get(name), dict | list)]:
        raise DataError(f"{place}: its {odd[0]} names no step. Delete that line.")
    return row


def _finite(value: Any) -> Any:
    """Replace NaN and infinity, which JSON lacks, by their names, so that a curve shows them."""
    if isinstance(value, dict):
        return {key: _finite(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_finite(inner) for inner in value]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def _cut_torn_line(stream: Any) -> None:
    end = stream.seek(0, 2)
    start, tail = end, b""
    while start and b"\n" not in tail:
        start = max(0, start - _TAIL)
        stream.seek(start)
        tail = stream.read(end - start)
    stream.truncate(start + tail.rfind(b"\n") + 1)
    stream.seek(0, 2)
