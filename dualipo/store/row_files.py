"""Reads the rows of a CSV, JSON, JSON Lines or parquet file one at a time, each with its line.

No file is read whole: a JSON array is decoded element by element. A line that cannot be read is
yielded as `Unfit`, so that the lines after it are still reported; where no next row can be found, a
DataError is raised. In a parquet file the "line" is the row's number. Archives are not opened.
"""

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

import pyarrow as pa
import pyarrow.parquet as pq

from dualipo.errors import DataError

Row = dict[str, Any]

MAX_CHARACTERS = 1 << 26  # of one JSON row
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
        raise DataError(f"{path}: {error.strerror}. Name a file of rows.") from None
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path}: it is not UTF-8 (byte {error.start}). Save it as UTF-8."
        ) from None


def _csv(path: Path) -> Lines:
    with _opened(path) as stream:
        reader = csv.reader(stream, strict=True)
        header = next(reader, [])
        if len(set(header)) < len(header):
            raise DataError(f"{path}: its header {header} has two equal names. Rename one of them.")
        while True:
            try:
                values = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                yield reader.line_num, Unfit(f"The line is not CSV ({error}).")
                continue
            if len(values) == len(header):
                yield reader.line_num, dict(zip(header, values, strict=True))
            elif values:
                fact = f"The line has {len(values)} fields, but the header names {len(header)}."
                yield reader.line_num, Unfit(fact)


def _json_lines(path: Path) -> Lines:
    with _opened(path) as stream:
        number = 0
        while line := stream.readline(MAX_CHARACTERS):
            number += 1
            if not line.strip():
                continue
            try:
                yield number, _row(json.loads(line))
            except ValueError as error:
                yield number, Unfit(f"The line is not JSON ({error}).")


def _json(path: Path) -> Lines:
    """Yield the objects of an array; a file that begins with an object is read as JSON Lines."""
    with _opened(path) as stream:
        start = stream.read(_CHUNK).lstrip(_BLANK)[:1]
    if start == "{":
        yield from _json_lines(path)
        return
    with _opened(path) as stream:
        yield from _Array(path, stream)


class _Array:
    """The elements of a JSON array, decoded from a buffer that is filled as they need it."""

    def __init__(self, path: Path, stream: TextIO) -> None:
        self.path = path
        self.stream = stream
        self.line = 1
        self.buffer = ""
        self.at = 0

    def __iter__(self) -> Lines:
        if self._next() != "[":
            raise self._error("a JSON file of rows is an array of objects")
        self.at += 1
        while (character := self._next()) != "]":
            if character == ",":
                self.at += 1
                self._next()
            line = self.line
            yield line, _row(self._value())

    def _next(self) -> str:
        """Skip blanks; return the character that follows."""
        while True:
            while self.at < len(self.buffer) and self.buffer[self.at] in _BLANK:
                self.line += self.buffer[self.at] == "\n"
                self.at += 1
            if self.at < len(self.buffer):
                return self.buffer[self.at]
            if not self._fill():
                raise self._error("it ends too early")

    def _value(self) -> Any:
        decoder = json.JSONDecoder()
        while True:
            try:
                value, end = decoder.raw_decode(self.buffer, self.at)
            except json.JSONDecodeError as error:
                if len(self.buffer) - self.at > MAX_CHARACTERS or not self._fill():
                    raise self._error(error.msg) from None
                continue
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
            for batch in opened.iter_batches(batch_size=64, use_threads=False):
                for row in batch.to_pylist():
                    number += 1
                    yield number, row
    except (pa.ArrowException, ValueError) as error:
        raise DataError(
            f"{path}: it is damaged or not parquet ({error}). Download it again."
        ) from None


def _row(value: Any) -> Row | Unfit:
    return value if isinstance(value, dict) else Unfit("The row is not an object of named values.")


def _opened(path: Path) -> TextIO:
    return open(path, encoding="utf-8-sig", newline="")
