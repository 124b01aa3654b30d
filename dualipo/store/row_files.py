"""Reads the rows of a CSV, JSON, JSON Lines or parquet file one at a time, each with its line.

No file is read whole: a JSON array is decoded element by element. A row that cannot be read is
yielded as `Unfit`, so that the rows after it are still reported; where no next row can be found, a
DataError is raised. In a parquet file the "line" is the row's number. Archives are not opened. What
counts as text, a line, JSON and CSV is said in `text_files.py`.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

import pyarrow as pa
import pyarrow.parquet as pq

from dualipo import text_files
from dualipo.errors import DataError
from dualipo.text_files import Unreadable

Row = dict[str, Any]

MAX_CHARACTERS = text_files.MAX_LINE  # of one element of a JSON array
_CHUNK = 1 << 18
_BLANK = " \t\r\n"


class Unfit(ValueError):
    """A row that cannot be read, or that its format cannot use, and why."""


Lines = Iterator[tuple[int, Row | Unfit]]


def rows(path: Path) -> Lines:
    """Yield the rows of a file, read by its suffix."""
    readers = {".csv": _csv, ".jsonl": _json_lines, ".json": _json, ".parquet": _parquet}
    reader = readers.get(path.suffix.lower())
    if reader is None:
        known = ", ".join(readers)
        raise DataError(f"{path}: rows are read from {known} only. Unpack or convert it first.")
    try:
        yield from reader(path)
    except OSError as error:
        raise DataError(f"{path}: {text_files.os_fact(error)}. Name a file of rows.") from None


def whole_rows(path: Path) -> Iterator[tuple[int, Row]]:
    """Yield the rows of a file every row of which has to be readable."""
    for line, row in rows(path):
        if isinstance(row, Unfit):
            raise DataError(f"{path}:{line}: {row} Correct or remove it.")
        yield line, row


def _csv(path: Path) -> Lines:
    for line, row in text_files.csv_rows(path):
        yield line, Unfit(str(row)) if isinstance(row, Unreadable) else row


def _json_lines(path: Path) -> Lines:
    for line, value in text_files.json_lines(path):
        yield line, _row(value)


def _json(path: Path) -> Lines:
    """Yield the objects of an array; a file of an object on each line is read as JSON Lines."""
    try:
        with _opened(path) as stream:
            start = stream.read(_CHUNK).lstrip(_BLANK)[:1]
        if start == "{":
            _require_whole(path)
            yield from _json_lines(path)
            return
        with _opened(path) as stream:
            yield from _Array(path, stream)
    except UnicodeDecodeError:
        text_files.read_text(path, remedy="Save it as UTF-8.")  # names the line
        raise


def _require_whole(path: Path) -> None:
    """Refuse one object that is spread over lines: it is neither an array nor JSON Lines."""
    first = next(line for _, line in text_files.lines(path) if str(line).strip())
    if isinstance(first, Unreadable):
        return  # told as the first row
    try:
        text_files.JsonDecoder().decode(first.lstrip(_BLANK))
    except json.JSONDecodeError:
        raise DataError(
            f"{path}:1: it begins with one object over several lines, and not with an array of "
            "objects or with an object on each line. Write the rows as one of these."
        ) from None
    except Unreadable:
        return


def _opened(path: Path) -> TextIO:
    return open(path, encoding="utf-8-sig", newline="")


class _Array:
    """The elements of a JSON array, decoded from a buffer that is filled as they need it."""

    def __init__(self, path: Path, stream: TextIO) -> None:
        self.path = path
        self.stream = stream
        self.line = 1
        self.buffer = ""
        self.at = 0
        self._decoder = text_files.JsonDecoder()

    def __iter__(self) -> Lines:
        if self._next() != "[":
            raise self._error("a JSON file of rows is an array of objects")
        self.at += 1
        if self._next() == "]":
            self.at += 1
        else:
            yield from self._elements()
        if self._next(at_end=True):
            raise self._error("something follows the array")

    def _elements(self) -> Lines:
        """Yield the elements after the opening bracket; stop behind the closing one."""
        while True:
            self._next()
            line = self.line
            yield line, _row(self._value())
            after = self._next()
            if after not in ",]":
                raise self._error(f"a comma is missing before {after!r}")
            self.at += 1
            if after == "]":
                return

    def _next(self, *, at_end: bool = False) -> str:
        """Skip blanks; return the character that follows, or "" where the text may end there."""
        while True:
            while self.at < len(self.buffer) and self.buffer[self.at] in _BLANK:
                self.line += self.buffer[self.at] == "\n"
                self.at += 1
            if self.at < len(self.buffer):
                return self.buffer[self.at]
            if not self._fill():
                if at_end:
                    return ""
                raise self._error("it ends too early")

    def _value(self) -> Any:
        while True:
            try:
                value, end = self._decoder.decode(self.buffer, self.at)
            except text_files.Unusable as unusable:
                value, end = unusable, unusable.end
            except Unreadable as unreadable:
                raise self._error(str(unreadable)) from None
            except json.JSONDecodeError as error:
                if len(self.buffer) - self.at > MAX_CHARACTERS or not self._fill():
                    raise self._error(error.msg) from None
                continue
            if end == len(self.buffer) and self._fill():
                continue  # a number may go on
            self.line += self.buffer.count("\n", self.at, end)
            self.at = end
            return value

    def _fill(self) -> bool:
        # Reads as much as is already there, so that a long element is not decoded too often.
        kept = self.buffer[self.at :]
        more = self.stream.read(max(_CHUNK, len(kept)))
        self.buffer, self.at = kept + more, 0
        return bool(more)

    def _error(self, fact: str) -> DataError:
        return DataError(
            f"{self.path}:{self.line}: this is not JSON ({fact}). Correct or shorten the file."
        )


def _parquet(path: Path) -> Lines:
    number = 0
    try:
        with pq.ParquetFile(path, page_checksum_verification=True) as opened:
            text_files.require_unique(opened.schema_arrow.names, str(path))
            for batch in opened.iter_batches(batch_size=64, use_threads=False):
                for row in _plain(batch):
                    number += 1
                    yield number, row
    except (pa.ArrowException, ValueError) as error:
        raise DataError(
            f"{path}: it is damaged or not parquet ({error}). Download it again."
        ) from None


def _plain(batch: pa.RecordBatch) -> list[Row | Unfit]:
    """Return the rows of a batch as Python's values; not all that parquet holds is one."""
    try:
        return list(batch.to_pylist())
    except (pa.ArrowException, ValueError, OverflowError, LookupError) as error:
        if len(batch) == 1:
            return [Unfit(f"A value of the row cannot be read ({error}).")]
        singles = (batch.slice(n, 1) for n in range(len(batch)))
        return [row for single in singles for row in _plain(single)]


def _row(value: Any) -> Row | Unfit:
    if isinstance(value, Unreadable):
        return Unfit(str(value))
    return value if isinstance(value, dict) else Unfit("The row is not an object of named values.")
