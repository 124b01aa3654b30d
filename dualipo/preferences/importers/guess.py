"""Guesses the format of preferences from what a file or a folder looks like.

A folder with `winner/` and `loser/`, or with a videofolder's table, says what it is by its names; a
file by the columns of its first row. Where two formats fit equally well, the user has to say which.
"""

from pathlib import Path

from dualipo.errors import ConfigError
from dualipo.preferences.importers import folders, table, winner_loser
from dualipo.preferences.importers.formats import FORMATS
from dualipo.preferences.importers.row import Format
from dualipo.store import row_files
from dualipo.store.row_files import Unfit

# Not known by a file's columns: only the user knows a table's, and the others' rows are clips.
_NEVER = ("table", "simpletuner", "winner-loser")


def format_of(path: Path, *, is_mapped: bool = False) -> str:
    """Return the name of the format of a file or folder; raise ConfigError where none is clear.

    A file whose columns the user maps may be any table.
    """
    if not path.exists():
        raise ConfigError(f"{path}: there is nothing. Name a file or folder of preferences.")
    if path.is_dir():
        return _of_folder(path)
    first = next((row for _, row in row_files.rows(path) if not isinstance(row, Unfit)), None)
    if first is None:
        raise ConfigError(f"{path}: it holds no readable row. Name another file.")
    columns = {name for name, value in first.items() if value not in (None, "")}
    fitting = {name: _num_known(form, columns) for name, form in FORMATS.items()
               if name not in _NEVER and _fits(form, columns)}  # fmt: skip
    best = [name for name, num in fitting.items() if num == max(fitting.values())]
    if not best and is_mapped:
        return "table"
    if len(best) != 1:
        fact = f"fit {', '.join(best)} alike" if best else "fit no known format"
        _, suggested = table.suggested_map(path)
        or_table = f", or say what they are: --format table --map {suggested}" if suggested else ""
        raise ConfigError(
            f"{path}: its columns ({', '.join(sorted(map(str, columns)))}) {fact}. Name the format "
            f"with --format{or_table}."
        )
    return best[0]


def _of_folder(path: Path) -> str:
    if winner_loser.is_one(path):
        return "winner-loser"
    if any((path / name).is_file() for name in folders.TABLES) or [
        table for name in folders.TABLES for table in path.glob(f"*/{name}")
    ]:
        return "videofolder"
    raise ConfigError(
        f"{path}: neither a label set, a run, a videofolder with {' or '.join(folders.TABLES)}, "
        "nor a folder with winner/ and loser/. Name one of these, or a file."
    )


def _fits(form: Format, columns: set[str]) -> bool:
    """Tell whether a row with these columns could be of the format."""
    has_one = all(not columns.isdisjoint(group) for group in form.alternatives)
    return columns.issuperset(form.required) and has_one


def _num_known(form: Format, columns: set[str]) -> int:
    return len(columns & {*form.used, *form.not_kept})
