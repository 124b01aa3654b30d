"""The JSON files of a model's folder, read as strictly as the libraries read them.

diffusers and transformers take UTF-8 without a byte-order mark. A file that they would refuse, or
a value that would reach them silently (NaN, the last of two values of one name), is refused here,
with the file's name and the remedy.
"""

import codecs
import json
from pathlib import Path
from typing import Any

from dualipo.errors import ModelError

RESTORE = "Copy the one that the model was published with."

_LARGEST = 3.4e38  # of float32; what is beyond becomes infinite


def read(path: Path) -> dict[str, Any]:
    """Read a JSON object; raise a ModelError that names the file where it holds anything else."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise ModelError(f"{path}: no such file. {RESTORE}") from None
    except OSError as refused:
        raise ModelError(f"{path}: cannot be read ({refused.strerror}). {RESTORE}") from refused
    if content.startswith(codecs.BOM_UTF8):
        raise ModelError(
            f"{path}: begins with a byte-order mark, which the model libraries cannot read. Save "
            "it as UTF-8 without one."
        )
    try:
        value = json.loads(
            content.decode(), parse_constant=_constant, object_pairs_hook=_without_doubles
        )
    except RecursionError:
        raise ModelError(f"{path}: nested too deeply. {RESTORE}") from None
    except ValueError as broken:
        raise ModelError(f"{path}: not JSON ({broken}). {RESTORE}") from None
    if not isinstance(value, dict):
        raise ModelError(f"{path}: holds no table of settings. {RESTORE}")
    return value


def are_numbers(values: Any, num: int) -> bool:
    """Tell whether a setting is a list of so many numbers that float32 can hold."""
    if not isinstance(values, list | tuple) or len(values) != num:
        return False
    return all(isinstance(value, int | float) and abs(value) <= _LARGEST for value in values)


def _constant(name: str) -> float:
    """Refuse NaN; an infinity is a limit that some published models set."""
    if name == "NaN":
        raise ValueError("NaN is no setting")
    return float(name)


def _without_doubles(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return a table; refuse one that gives a name two values, of which the last would count."""
    table = dict(pairs)
    if len(table) < len(pairs):
        for name, value in pairs:
            if value != table[name]:
                raise ValueError(f"{name!r} stands in one table with two values")
    return table
