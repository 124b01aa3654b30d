"""The ledger's tables, and the migration of older ones (fault 40).

Every table's rows are addressed by a logical key, never by a clock, a process id or a row number;
`units.counter` gives the order of commits, so that time never decides (fault 59).
"""

import re
import sqlite3
from collections.abc import Callable
from pathlib import Path

from dualipo.errors import DataError
from dualipo.records import SCHEMA_VERSION

_UNIT = "round INTEGER NOT NULL, attempt INTEGER NOT NULL, stage TEXT NOT NULL"

TABLES = f"""
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
CREATE TABLE units (
    counter INTEGER PRIMARY KEY, {_UNIT}, unit_index INTEGER NOT NULL,
    UNIQUE (round, attempt, stage, unit_index)) STRICT;
CREATE TABLE files (
    path TEXT PRIMARY KEY, sha256 TEXT NOT NULL, {_UNIT}, unit_index INTEGER NOT NULL) STRICT;
CREATE TABLE candidates (
    candidate_id TEXT PRIMARY KEY, prompt_id TEXT NOT NULL, caption TEXT NOT NULL,
    "index" INTEGER NOT NULL, draw INTEGER NOT NULL, seed INTEGER NOT NULL, clip TEXT NOT NULL,
    generator_version TEXT NOT NULL, round INTEGER NOT NULL) STRICT;
CREATE TABLE votes (
    round INTEGER NOT NULL, attempt INTEGER NOT NULL,
    kind TEXT NOT NULL CHECK (kind IN ('pair', 'point')),
    item TEXT NOT NULL, dimension TEXT NOT NULL, critic_version TEXT NOT NULL,
    draw_order TEXT NOT NULL, draw INTEGER NOT NULL,
    outcome TEXT NOT NULL, log_prob REAL NOT NULL, score REAL,
    PRIMARY KEY (round, attempt, kind, item, dimension, critic_version, draw_order, draw)) STRICT;
CREATE TABLE versions (
    kind TEXT NOT NULL CHECK (kind IN ('generator', 'critic')), version_id TEXT NOT NULL,
    parent TEXT, round INTEGER NOT NULL, attempt INTEGER NOT NULL, path TEXT NOT NULL,
    sha256 TEXT NOT NULL, PRIMARY KEY (kind, version_id)) STRICT;
CREATE TABLE heads (
    kind TEXT PRIMARY KEY, version_id TEXT NOT NULL,
    FOREIGN KEY (kind, version_id) REFERENCES versions (kind, version_id)) STRICT;
CREATE TABLE events (
    {_UNIT}, unit_index INTEGER NOT NULL, name TEXT NOT NULL, value TEXT NOT NULL,
    PRIMARY KEY (round, attempt, stage, unit_index, name)) STRICT;
"""

# What stages ask for by other columns than a key's. An index is no part of the schema's version:
# an older program keeps it up to date, and a ledger without it answers the same, more slowly.
INDEXES = "CREATE INDEX IF NOT EXISTS events_by_name ON events (name)"

_COPY = "copy"  # the key in `meta` that a backup has, and a ledger at work has not

# From version N to N + 1, each inside the transaction that raises the version.
MIGRATIONS: dict[int, Callable[[sqlite3.Connection], None]] = {}

# What the digest hashes, table by table: logical columns in key order. A file's first owner is
# left out, as equal clips may come from two units; so are `clock.*` and `usage`.
LOGICAL_ROWS = {
    "units": "SELECT round, attempt, stage, unit_index FROM units ORDER BY 1, 2, 3, 4",
    "files": "SELECT path, sha256 FROM files ORDER BY 1",
    "candidates": "SELECT * FROM candidates ORDER BY candidate_id",
    "votes": "SELECT * FROM votes ORDER BY 1, 2, 3, 4, 5, 6, 7, 8",
    "versions": "SELECT * FROM versions ORDER BY 1, 2",
    "heads": "SELECT * FROM heads ORDER BY 1",
    "events": "SELECT * FROM events WHERE name NOT LIKE 'clock.%' AND name <> 'usage' "
    "ORDER BY 1, 2, 3, 4, 5",
}


def prepare(connection: sqlite3.Connection, path: Path) -> None:
    """Create the tables of a new ledger, or migrate an older one after a backup beside it."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        if not connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'meta'").fetchone():
            for statement in TABLES.split(";")[:-1]:
                connection.execute(statement)
            version_row = ("schema_version", str(SCHEMA_VERSION))
            connection.execute("INSERT INTO meta VALUES (?, ?)", version_row)
        connection.execute("COMMIT")
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
    if read_version(connection, path) < SCHEMA_VERSION:
        _migrate(connection, path)
    connection.execute(INDEXES)


def has_tables(connection: sqlite3.Connection) -> bool:
    """Tell whether an open file holds a ledger's tables."""
    query = "SELECT 1 FROM sqlite_master WHERE name = 'units'"
    return connection.execute(query).fetchone() is not None


def num_units(connection: sqlite3.Connection) -> int:
    """Count the units of an open ledger; none is ever deleted, so the last counter says it."""
    return int(connection.execute("SELECT MAX(counter) FROM units").fetchone()[0] or 0)


def mark_copy(connection: sqlite3.Connection) -> None:
    """Mark an open ledger as a backup, in one file without a log beside it."""
    connection.execute("PRAGMA journal_mode = DELETE")
    connection.execute("INSERT OR REPLACE INTO meta VALUES (?, '')", (_COPY,))
    connection.commit()


def is_copy(connection: sqlite3.Connection) -> bool:
    """Tell whether an open ledger is a backup, or one put in a ledger's place."""
    query = "SELECT 1 FROM meta WHERE key = ?"
    return connection.execute(query, (_COPY,)).fetchone() is not None


def take_copy_mark(connection: sqlite3.Connection) -> bool:
    """Take the mark of a backup off, as the ledger is written from now on; tell whether it had."""
    return connection.execute("DELETE FROM meta WHERE key = ?", (_COPY,)).rowcount > 0


def read_version(connection: sqlite3.Connection, path: Path) -> int:
    """Return the ledger's schema version; one newer than this program is refused."""
    row = connection.execute("SELECT value FROM meta WHERE key = 'schema_version'").fetchone()
    if row is None or not re.fullmatch("[0-9]{1,9}", str(row[0])):
        raise DataError(f"{path}: it has no schema version. Restore the file from a backup.")
    version = int(row[0])
    if version > SCHEMA_VERSION:
        raise DataError(
            f"{path}: schema version {version}, this program knows {SCHEMA_VERSION}. "
            "Use the newer dualipo that wrote it."
        )
    return version


def _migrate(connection: sqlite3.Connection, path: Path) -> None:
    version = read_version(connection, path)
    unknown = [step for step in range(version, SCHEMA_VERSION) if step not in MIGRATIONS]
    if unknown:
        raise DataError(
            f"{path}: no migration from schema version {unknown[0]}. Finish the run with the "
            "dualipo that began it."
        )
    with sqlite3.connect(path.with_name(f"{path.name}.v{version}.bak")) as backup:
        connection.backup(backup)
    backup.close()
    connection.execute("BEGIN IMMEDIATE")
    try:
        for step in range(version, SCHEMA_VERSION):
            MIGRATIONS[step](connection)
        newest = (str(SCHEMA_VERSION),)
        connection.execute("UPDATE meta SET value = ? WHERE key = 'schema_version'", newest)
        connection.execute("COMMIT")
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
