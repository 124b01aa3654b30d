"""Reads text files: the one reader each for JSON, JSON Lines, CSV and TOML.

All of them read UTF-8, with or without a byte-order mark, whatever the locale says. A line ends at
LF or CRLF only: U+2028 and a form feed are letters like others. What is read has bounds: bytes of a
file or a line, characters of a field, and depth of what is nested. A whole file that cannot be read
raises an error with file and line; a row that cannot be read is yielded as an `Unreadable`, so that
the rows after it are still read.

JSON is read as RFC 8259 means it, with two additions of Python's: NaN and infinite numbers pass
here, because columns that nobody uses hold them; who reads a number refuses them.
"""

import csv
import json
import re
import tomllib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from dualipo.errors import DataError, DualipoError

MAX_BYTES = 1 << 28  # of a file that is read whole
MAX_LINE = 1 << 26  # bytes of a line
MAX_FIELD = 1 << 20  # characters of a CSV field
MAX_DEPTH = 64  # of lists and tables in one another
CORRECT = "Correct the file."

_MARK = "\ufeff"
_SEPARATORS = ";\t|"  # of tables that are no CSV
_HALF_CHARACTER = re.compile(r"\\u[dD][89a-fA-F]")
_KINDS: dict[type, str] = {
    dict: "an object of named values",
    list: "a list",
    str: "a text",
    bool: "true or false",
    int: "a number",
    float: "a number",
    type(None): "null",
}


class Unreadable(ValueError):
    """A text that is not what its format promises: the fact, and its line where that is known."""

    def __init__(self, fact: str, *, line: int | None = None) -> None:
        super().__init__(fact)
        self.line = line


class JsonDecoder:
    """A decoder of JSON values that refuses repeated names, half characters and great depth."""

    def __init__(self) -> None:
        self._repeated: list[str] = []
        self._decoder = json.JSONDecoder(object_pairs_hook=self._object)

    def decode(self, text: str, start: int = 0) -> tuple[Any, int]:
        """Decode the value at `start`; return it and where it ends.

        A text that ends or errs within the value raises json.JSONDecodeError, and a whole value
        that cannot be used raises `Unusable`, which says where it ends.
        """
        self._repeated.clear()
        try:
            value, end = self._decoder.raw_decode(text, start)
        except RecursionError:
            raise Unreadable(_too_deep()) from None
        except json.JSONDecodeError:
            raise
        except ValueError:  # a whole number of more digits than Python reads
            raise Unreadable("a number has too many digits") from None
        fact = self._fact(value, text[start:end])
        if fact:
            raise Unusable(fact, end=end)
        return value, end

    def _object(self, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        members = dict(pairs)
        if len(members) < len(pairs):
            names = [name for name, _ in pairs]
            self._repeated.append(next(name for name in names if names.count(name) > 1))
        return members

    def _fact(self, value: Any, text: str) -> str:
        """Return why a decoded value cannot be used; "" where it can."""
        if self._repeated:
            return f"the name {self._repeated[0][:60]!r} stands twice in one object"
        if _depth_exceeds(value, text):
            return _too_deep()
        if _HALF_CHARACTER.search(text) and _has_half_characters(value):
            return "a text holds one half of a character (a lone surrogate)"
        return ""


class Unusable(Unreadable):
    """A whole JSON value that cannot be used; the text goes on at `end`."""

    def __init__(self, fact: str, *, end: int) -> None:
        super().__init__(fact)
        self.end = end


def json_value(text: str) -> Any:
    """Return the one JSON value that a text is; raise Unreadable where it is none."""
    blanks = " \t\r\n"
    begin = len(text) - len(text.lstrip(blanks))
    try:
        value, end = JsonDecoder().decode(text, begin)
    except json.JSONDecodeError as error:
        raise Unreadable(error.msg, line=error.lineno) from None
    if text[end:].strip(blanks):
        raise Unreadable("something follows the value", line=1 + text.count("\n", 0, end))
    return value


def read_json(
    path: Path,
    *,
    remedy: str = CORRECT,
    error: type[DualipoError] = DataError,
    shape: type | None = None,
) -> Any:
    """Read a JSON file; with `shape` (dict or list) raise an error where it holds another kind."""
    text = read_text(path, remedy=remedy, error=error)
    try:
        value = json_value(text)
    except Unreadable as broken:
        raise error(f"{path}{_at(broken)}: it is not JSON ({broken}). {remedy}") from None
    if shape is not None and not isinstance(value, shape):
        fact = f"it holds {_KINDS[type(value)]}, not {_KINDS[shape]}"
        raise error(f"{path}: {fact}. {remedy}")
    return value


def read_toml(
    path: Path, *, remedy: str = CORRECT, error: type[DualipoError] = DataError
) -> dict[str, Any]:
    """Read a TOML file."""
    text = read_text(path, remedy=remedy, error=error)
    try:
        tree = tomllib.loads(text)
        fact, line = (_too_deep(), "") if _depth_exceeds(tree, "") else ("", "")
    except RecursionError:
        fact, line = _too_deep(), ""
    except ValueError as broken:
        where = re.search(r" \(at line (\d+), column \d+\)$", str(broken))
        fact = str(broken)[: where.start()] if where else str(broken)
        line = f":{where[1]}" if where else ""
    if fact:
        raise error(f"{path}{line}: it is not TOML ({fact}). {remedy}")
    return tree


def read_text(path: Path, *, remedy: str = CORRECT, error: type[DualipoError] = DataError) -> str:
    """Read a whole file as UTF-8."""
    try:
        with open(path, "rb") as stream:
            content = stream.read(MAX_BYTES + 1)
    except (OSError, ValueError) as refusal:  # a name with NUL is a ValueError
        raise error(f"{path}: {os_fact(refusal)}. {remedy}") from None
    if len(content) > MAX_BYTES:
        raise error(f"{path}: it is longer than {MAX_BYTES} bytes. {remedy}")
    try:
        return content.decode().removeprefix(_MARK)
    except UnicodeDecodeError as broken:
        line = 1 + content.count(b"\n", 0, broken.start)
        raise error(f"{path}:{line}: {_not_utf8(content[:4], broken)}. {remedy}") from None


def lines(path: Path) -> Iterator[tuple[int, str | Unreadable]]:
    """Yield the lines of a text file with their numbers, each without its LF or CRLF.

    A line that is not UTF-8 or too long is an Unreadable. Raises OSError where there is no file.
    """
    with open(path, "rb") as stream:
        number, start = 0, b""
        while line := stream.readline(MAX_LINE):
            number += 1
            start = start or line[:4]
            if len(line) == MAX_LINE and not line.endswith(b"\n"):
                while (rest := stream.readline(MAX_LINE)) and not rest.endswith(b"\n"):
                    pass
                yield number, Unreadable(f"The line is longer than {MAX_LINE} bytes.", line=number)
                continue
            try:
                text = line.removesuffix(b"\n").removesuffix(b"\r").decode()
            except UnicodeDecodeError as broken:
                fact = f"The line cannot be read: {_not_utf8(start, broken)}."
                yield number, Unreadable(fact, line=number)
                continue
            yield number, text.removeprefix(_MARK) if number == 1 else text


def json_lines(path: Path) -> Iterator[tuple[int, Any]]:
    """Yield the value of each line of a JSON Lines file; blank lines are passed by."""
    for number, line in lines(path):
        if isinstance(line, Unreadable):
            yield number, line
        elif line.strip(" \t\r"):
            try:
                yield number, json_value(line)
            except Unreadable as broken:
                yield number, Unreadable(f"The line is not JSON ({broken}).", line=number)


def csv_rows(path: Path) -> Iterator[tuple[int, dict[str, str] | Unreadable]]:
    """Yield the rows of a CSV file under the names of its header; blank lines are passed by."""
    csv.field_size_limit(MAX_FIELD)
    source = _CsvLines(path)
    reader = csv.reader(source, strict=True)
    header = _header(path, reader, source)
    while True:
        source.fact = ""
        try:
            values = next(reader)
        except StopIteration:
            return
        except csv.Error as broken:
            yield source.number, Unreadable(f"The line is not CSV ({broken}).", line=source.number)
            continue
        if source.fact:
            yield source.number, Unreadable(source.fact, line=source.number)
        elif len(values) == len(header):
            yield source.number, dict(zip(header, values, strict=True))
        elif values:
            fact = f"The line has {len(values)} fields, but the header names {len(header)}."
            yield source.number, Unreadable(fact, line=source.number)


class _CsvLines:
    """The lines for a CSV reader; `fact` says what was wrong with one, which is given as blank."""

    def __init__(self, path: Path) -> None:
        self.number = 0
        self.fact = ""
        self._lines = lines(path)

    def __iter__(self) -> "_CsvLines":
        return self

    def __next__(self) -> str:
        self.number, line = next(self._lines)
        if isinstance(line, Unreadable):
            self.fact = str(line)
            return "\n"
        return f"{line}\n"


def _header(path: Path, reader: Iterator[list[str]], source: _CsvLines) -> list[str]:
    try:
        header = next((names for names in reader if names or source.fact), [])
    except csv.Error as broken:
        fact = source.fact or f"The header is not CSV ({broken})."
        if "new-line" in str(broken):
            fact = "Its lines end with CR alone, where LF or CRLF is read."
        raise DataError(f"{path}:{source.number}: {fact} {CORRECT}") from None
    if source.fact:
        raise DataError(f"{path}:{source.number}: {source.fact} Save it as UTF-8.")
    if "\0" in "".join(header):
        fact = "it holds the character NUL, so it is no CSV in UTF-8"
        raise DataError(f"{path}:{source.number}: {fact}. Save it as CSV in UTF-8.")
    if len(header) == 1 and (separator := next(filter(header[0].__contains__, _SEPARATORS), "")):
        fact = f"its fields are separated by {separator!r}, where commas are read"
        raise DataError(f"{path}:{source.number}: {fact}. Save it with commas.")
    require_unique(header, f"{path}:{source.number}")
    return header


def require_unique(names: Sequence[str], place: str) -> None:
    """Raise a DataError where two columns of a table have one name: a row would lose a value."""
    if len(set(names)) < len(names):
        name = next(name for name in names if names.count(name) > 1)
        raise DataError(f"{place}: its header has two equal names, {name[:60]!r}. Rename one.")


def os_fact(refusal: Exception) -> str:
    """Say in words why the system refuses to open a path."""
    if isinstance(refusal, FileNotFoundError):
        return "there is no such file"
    if isinstance(refusal, IsADirectoryError):
        return "it is a folder, not a file"
    return str(getattr(refusal, "strerror", None) or refusal)


def _at(broken: Unreadable) -> str:
    return f":{broken.line}" if broken.line else ""


def _not_utf8(start: bytes, broken: UnicodeDecodeError) -> str:
    if start in (b"\xff\xfe\0\0", b"\0\0\xfe\xff"):
        return "it is UTF-32, not UTF-8"
    if start.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "it is UTF-16, not UTF-8"
    return f"it is not UTF-8 (byte 0x{broken.object[broken.start]:02x})"


def _too_deep() -> str:
    return f"it is nested deeper than {MAX_DEPTH} levels"


def _depth_exceeds(value: Any, text: str) -> bool:
    """Tell whether lists and tables are nested too deeply; a text with few brackets cannot be."""
    if text and text.count("[") + text.count("{") <= MAX_DEPTH:
        return False
    level = [value] if isinstance(value, dict | list) else []
    for _ in range(MAX_DEPTH):
        inner = (each.values() if isinstance(each, dict) else each for each in level)
        level = [each for part in inner for each in part if isinstance(each, dict | list)]
        if not level:
            return False
    return True


def _has_half_characters(value: Any) -> bool:
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return True
    return False
