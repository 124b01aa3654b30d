"""Backups of the ledger, one before each round, and the refusal to go on without what it held.

    backups/before-round-002.sqlite    a copy of the ledger, made before round 2 begins

A run whose ledger is missing, empty, or holds fewer units than were committed would be begun anew,
and the sweep would delete its work as files without a row. So such a run is refused before anything
is touched, and the refusal says how the newest backup is put in the ledger's place. A copy carries
a mark: by that, an older ledger that was put back on purpose is told from one that lost units.

Left out: the files that the ledger names. They are found to be missing or changed by their hashes.
"""

import contextlib
import shlex
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

from dualipo import text_files
from dualipo.errors import DataError, StorageError
from dualipo.store import atomic, schema

FOLDER = "backups"
LEDGER = "ledger.sqlite"
COUNT = "units.count"
WORK_FOLDERS = ("clips", "latents", "rounds")
NUM_KEPT = 2


def make(run_path: Path, round: int, write: Callable[[Path], None]) -> None:
    """Back the ledger up before a round, unless that was done; `write` writes a copy to a path."""
    path = run_path / FOLDER / f"before-round-{round:03d}.sqlite"
    if not path.exists():
        with atomic.publish(path, name="backup") as temporary:
            write(temporary)
        for old in _backups(run_path)[:-NUM_KEPT]:
            old.unlink()


def remedy(run_path: Path) -> str:
    """Return how a run gets back a ledger that is damaged or lost."""
    backups = _backups(run_path)
    if not backups:
        return (
            "There is no backup in this folder, as one is made before each round. Restore "
            f"{run_path / LEDGER} from a backup of your own, or begin a run with another "
            "output_dir."
        )
    beside, ledger, newest = (
        shlex.quote(str(path)) for path in (run_path / LEDGER, run_path / LEDGER, backups[-1])
    )
    return (
        f"Put the newest backup in its place with `rm -f {beside}* && cp {newest} {ledger}`, then "
        "repeat the command: what was made since then is made once more."
    )


def damaged(ledger: Path, fact: object) -> DataError:
    """Return the error of a ledger that cannot be read."""
    return DataError(f"{ledger}: damaged or no ledger ({fact}). {remedy(ledger.parent)}")


def stored(text: str, ledger: Path) -> Any:
    """Return a value that a ledger keeps as JSON; raise DataError where it holds something else."""
    try:
        return text_files.json_value(text)
    except text_files.Unreadable as broken:
        raise damaged(ledger, f"a value in it is not JSON: {broken}") from None


def require_whole(run_path: Path) -> None:
    """Refuse a run whose ledger is missing, empty, or has lost units; touch nothing.

    The count beside the ledger says how many units there were. A run of an older program has none:
    there a clip shows that some unit was committed.
    """
    num_units, is_copy = _look_into(run_path / LEDGER)
    num_committed = _count(run_path / COUNT)
    if num_committed is None:
        num_committed = int(any((run_path / "clips").rglob("*.mp4")))
    if num_units is None and (num_committed or _has_work(run_path)):
        fact = f"{run_path / LEDGER}: the ledger is missing or empty, but the run has files."
        raise DataError(f"{fact} Nothing was changed. {remedy(run_path)}")
    if (num_units or 0) < num_committed and not is_copy:
        fact = (
            f"{run_path / LEDGER}: the ledger holds {num_units} units of work, but at least "
            f"{num_committed} were committed, so it is older than the run's files."
        )
        raise DataError(f"{fact} Nothing was changed. {remedy(run_path)}")


def _look_into(ledger: Path) -> tuple[int | None, bool]:
    """Return the number of units, None without tables, and whether it is a copy put in place."""
    if not ledger.is_file() or not ledger.stat().st_size:
        return None, False
    uri = f"{ledger.absolute().as_uri()}?mode=ro"
    if not ledger.with_name(f"{LEDGER}-wal").exists():  # or SQLite would make one
        uri += "&immutable=1"
    try:
        with contextlib.closing(sqlite3.connect(uri, uri=True)) as connection:
            if not schema.has_tables(connection):
                return None, False
            return schema.num_units(connection), schema.is_copy(connection)
    except sqlite3.OperationalError as refusal:
        raise StorageError(f"{ledger}: {refusal}. Check that you may read and write it.") from None
    except sqlite3.DatabaseError as damage:
        raise damaged(ledger, damage) from None


def _count(path: Path) -> int | None:
    try:
        return int(path.read_bytes())
    except (FileNotFoundError, ValueError):
        return None


def _has_work(run_path: Path) -> bool:
    inner = (path for name in WORK_FOLDERS for path in (run_path / name).rglob("*"))
    return any(path.is_file() for path in inner)


def _backups(run_path: Path) -> list[Path]:
    return sorted((run_path / FOLDER).glob("before-round-*.sqlite"))
