"""The ledger: what has been done, in one SQLite file (FAULTS.md, principles).

A unit of work is committed whole, by one transaction, or not at all. A file without a row here is
garbage; a row without its file is damage. One process writes; others may read while it does.

Beside the units stand records: named values that no digest reads, such as the run's settings. And
beside the ledger stands `units.count`, how many units it held when it was last written: by that,
`ledger_backup.py` notices a ledger that has lost some.

Left out: reasoning text and tensors. They are files, and the ledger knows their hashes.
"""

import contextlib
import sqlite3
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import fields
from operator import attrgetter
from pathlib import Path
from typing import Any

from dualipo import event_names, failpoints
from dualipo.errors import DataError
from dualipo.event_json import to_json
from dualipo.events import Event
from dualipo.records import Candidate, Vote
from dualipo.store import atomic, filesystems, forgetting, ledger_backup, reading, schema
from dualipo.store.ledger_queries import (
    BUSY_SECONDS,
    RECORD,
    CastVote,
    LedgerQueries,
    ModelKind,
    Unit,
    Version,
    VoteKind,
    as_json,
)

__all__ = ["CastVote", "Ledger", "ModelKind", "Unit", "Version", "VoteKind"]

# Rows of these records. `dataclasses.astuple` copies every value, and takes longer than SQLite.
_key = attrgetter("round", "attempt", "stage", "index")
_candidate_row = attrgetter(*(field.name for field in fields(Candidate)))
_version_row = attrgetter(*(field.name for field in fields(Version)))


class Ledger(LedgerQueries):
    """The ledger at `path`, open; a writer creates it if need be, a reader creates nothing."""

    def __init__(self, path: Path, *, read_only: bool = False) -> None:
        self.path = path
        self.unknown: set[str] = set()
        self.is_restored = False  # from a backup, by the user, since it was last written
        self._open = contextlib.ExitStack()
        with self._errors():
            if read_only:
                self._connection = reading.connect(path, seconds=BUSY_SECONDS, until=self._open)
                schema.read_version(self._connection, path)
                return
            atomic.make_private(path)
            self._connection = sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None)
            self._open.callback(self._connection.close)
            self._connection.execute("PRAGMA foreign_keys = ON")
            self._connection.execute(f"PRAGMA journal_mode = {filesystems.journal_mode(path)}")
            self._connection.execute("PRAGMA synchronous = FULL")
            schema.prepare(self._connection, path)
            self.is_restored = schema.take_copy_mark(self._connection)
            self._write_count()

    def close(self) -> None:
        """Fold the write-ahead log into the file and close it."""
        self._open.close()

    # Writing

    def commit_unit(
        self,
        unit: Unit,
        *,
        files: Mapping[str, str] | None = None,
        candidates: Iterable[Candidate] = (),
        redrawn: Iterable[Candidate] = (),
        votes: Iterable[tuple[VoteKind, str, Vote]] = (),
        versions: Iterable[Version] = (),
        heads: Mapping[ModelKind, str] | None = None,
        events: Iterable[Event] = (),
        dropped: Iterable[str] = (),
    ) -> None:
        """Record all that `unit` made, in one transaction. The files must be published already.

        `files` maps paths (relative to the run directory) to sha256, `votes` are (kind, critic
        version, vote); a `ClockEvent` is not in the digest.
        `redrawn` candidates take the places of those of the same ids, whose clips went bad.
        `dropped` are paths that nothing reads any more: they are garbage once this is committed.
        """
        rows = {
            "files": [(path, sha256, *_key(unit)) for path, sha256 in (files or {}).items()],
            "candidates": [_candidate_row(candidate) for candidate in candidates],
            "redrawn": [_candidate_row(candidate) for candidate in redrawn],
            "votes": [_vote_row(unit, *vote) for vote in votes],
            "versions": [_version_row(version) for version in versions],
            "heads": list((heads or {}).items()),
            "events": [
                (*_key(unit), event_names.name_of(event), as_json(to_json(event)))
                for event in events
            ],
            "dropped": [(path,) for path in dropped],
        }
        with self._errors():
            atomic.retry(lambda: self._transaction(lambda: self._insert(unit, rows)))
            failpoints.hit("ledger.after_commit")
            self._write_count()

    def forget(
        self,
        units: Sequence[Unit],
        *,
        versions: Sequence[Version],
        voted: Sequence[tuple[Unit, str]],
        heads: Mapping[ModelKind, str],
        kept: Mapping[Unit, Mapping[str, str]],
    ) -> None:
        """Delete units with all that they recorded, in one transaction; other models serve.

        `voted` are the items on which these units cast votes, `kept` new units with their files.
        """
        self._write_count(0)  # a count that is too high would call the run damaged
        with self._errors():
            self._transaction(
                lambda: forgetting.forget(
                    self._connection,
                    [_key(unit) for unit in units],
                    versions=[(version.kind, version.version_id) for version in versions],
                    voted=[(unit.round, unit.attempt, item) for unit, item in voted],
                    heads=heads.items(),
                    kept={_key(unit): files for unit, files in kept.items()},
                )
            )
        self._write_count()

    def write_record(self, name: str, value: Any) -> None:
        """Keep a named value, in place of an earlier one."""
        row = (RECORD + name, as_json(value))
        query = "INSERT OR REPLACE INTO meta VALUES (?, ?)"
        with self._errors():
            self._transaction(lambda: self._connection.execute(query, row), is_unit=False)

    def backup(self, path: Path) -> None:
        """Write a copy of the ledger, as it is between two units, to a path of no file."""
        with self._errors():
            atomic.make_private(path)
        with self._errors(), contextlib.closing(sqlite3.connect(path)) as copy:
            self._connection.backup(copy)
            copy.execute("PRAGMA journal_mode = DELETE")  # one file, without a log beside it
            schema.mark_copy(copy)

    def _write_count(self, num_units: int | None = None) -> None:
        # Not fsynced: a count that is too low says nothing, and the ledger itself is durable.
        path = self.path.with_name(ledger_backup.COUNT)
        num_units = schema.num_units(self._connection) if num_units is None else num_units
        with open(path, "r+b" if path.exists() else "wb") as file:
            file.write(b"%012d\n" % num_units)

    def _insert(self, unit: Unit, rows: Mapping[str, list[tuple[Any, ...]]]) -> None:
        if self.is_done(unit):
            raise DataError(f"{self.path}: {unit} is committed already. Skip units that are done.")
        self._connection.execute(
            "INSERT INTO units (round, attempt, stage, unit_index) VALUES (?, ?, ?, ?)",
            _key(unit),
        )
        self._insert_files(rows["files"])
        self._connection.executemany("DELETE FROM files WHERE path = ?", rows["dropped"])
        for name in ("candidates", "redrawn", "votes", "versions", "heads", "events"):
            # A head is moved, and a candidate whose clip went bad; all else is written once.
            verb = "INSERT OR REPLACE" if name in ("heads", "redrawn") else "INSERT"
            table = "candidates" if name == "redrawn" else name
            if rows[name]:
                marks = ", ".join("?" * len(rows[name][0]))
                self._connection.executemany(f"{verb} INTO {table} VALUES ({marks})", rows[name])

    def _insert_files(self, rows: list[tuple[Any, ...]]) -> None:
        for path, sha256, *owner in rows:
            query = "SELECT sha256 FROM files WHERE path = ?"
            known = self._connection.execute(query, (path,)).fetchone()
            if known is None:
                row = (path, sha256, *owner)
                self._connection.execute("INSERT INTO files VALUES (?, ?, ?, ?, ?, ?)", row)
            elif known[0] != sha256:
                raise DataError(f"{path}: the ledger holds another file of this name. Rename one.")

    def _transaction(self, body: Callable[[], object], *, is_unit: bool = True) -> None:
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            body()
            if is_unit:
                failpoints.hit("ledger.before_commit")
            self._connection.execute("COMMIT")
        finally:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")


def _vote_row(unit: Unit, kind: VoteKind, critic_version: str, vote: Vote) -> tuple[Any, ...]:
    key = (unit.round, unit.attempt, kind, vote.item, vote.dimension, critic_version)
    return (*key, vote.order, vote.draw, vote.outcome, vote.log_prob, vote.score)
