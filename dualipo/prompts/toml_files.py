"""Reads TOML files that people edit, so that a mistake is told by its file and entry."""

from pathlib import Path
from typing import TypeVar

from pydantic import TypeAdapter, ValidationError

from dualipo import text_files
from dualipo.errors import DataError

Shape = TypeVar("Shape")


def read(path: Path, shape: type[Shape], *, remedy: str) -> Shape:
    """Return a file's content as `shape`; `remedy` says what to do where there is no file."""
    try:
        tree = text_files.read_toml(path, remedy=remedy)
        return TypeAdapter(shape).validate_python(tree)
    except ValidationError as error:
        first = error.errors()[0]
        entry = ".".join(str(part) for part in first["loc"])
        raise DataError(f"{path}: {entry}: {first['msg']}. Correct this entry.") from None
