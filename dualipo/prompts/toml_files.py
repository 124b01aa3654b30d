"""Reads TOML files that people edit, so that a mistake is told by its file and entry."""

import tomllib
from pathlib import Path
from typing import TypeVar

from pydantic import TypeAdapter, ValidationError

from dualipo.errors import DataError

Shape = TypeVar("Shape")


def read(path: Path, shape: type[Shape], *, remedy: str) -> Shape:
    """Return a file's content as `shape`; `remedy` says what to do where there is no file."""
    try:
        return TypeAdapter(shape).validate_python(tomllib.loads(path.read_text(encoding="utf-8")))
    except OSError as error:
        fact = (error.strerror or "unreadable").lower()
        raise DataError(f"{path}: {fact}. {remedy}") from None
    except ValidationError as error:
        first = error.errors()[0]
        entry = ".".join(str(part) for part in first["loc"])
        raise DataError(f"{path}: {entry}: {first['msg']}. Correct this entry.") from None
    except ValueError as error:
        raise DataError(f"{path}: not TOML in UTF-8 ({error}). Correct it.") from None
