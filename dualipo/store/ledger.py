"""The ledger: what has been done, in one SQLite file (FAULTS.md, principles).

A unit of work is committed whole, by one transaction, or not at all. A file without a row here is
garbage; a row without its file is damage. One process writes; others may read while it does.

Beside the units stand records: named values that no digest reads, such as the run's settings. And
beside the ledger stands `units.count`, how many units it held when it was last written: by that,
`ledger_backup.py` notices a ledger that has lost some.

Left out: reasoning text and tensors. They are files, and the ledger knows their hashes.
"""

import contextlib
import errno
import hashlib
import json
import os
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from typing import Any, Literal, overload

from dualipo import event_names, failpoints
from dualipo.errors import DataError, StorageError
from dualipo.event_json import to_json
from dualipo.events import Event, Recorded
from dualipo.records import Candidate, Vote
from dualipo.store import atomic, filesystems, forgetting, ledger_backup, reading, schema

BUSY_SECONDS = 30.0

VoteKind = Literal["pair", "point"]
ModelKind = Literal["generator", "critic"]

_RECORD = "record."  # begins the keys of named values in `meta`


@dataclass(frozen=True, slots=True, order=True)
class Unit:
    """A fixed list of items that one transaction commits; `index` tells a stage's units apart."""

    round: int
    attempt: int
    stage: str
    index: int = 0


@dataclass(frozen=True, slots=True)
class Version:
    """A model that the run trained or started from; `path` is relative to the run directory."""

    kind: ModelKind
    version_id: str
    parent: str | None
    round: int
    attempt: int
    path: str
    sha256: str


@dataclass(frozen=True, slots=True)
class CastVote:
    """A vote in the ledger, without its reasoning: when it was cast and by which critic."""

    round: int
    attempt: int
    kind: VoteKind
    critic_version: str
    vote: Vote


class Ledger:
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
            "files": [(path, sha256, *astuple(unit)) for path, sha256 in (files or {}).items()],
            "candidates": [astuple(candidate) for candidate in candidates],
            "redrawn": [astuple(candidate) for candidate in redrawn],
            "votes": [_vote_row(unit, *vote) for vote in votes],
            "versions": [astuple(version) for version in versions],
            "heads": list((heads or {}).items()),
            "events": [
                (*astuple(unit), event_names.name_of(event), _json(to_json(event)))
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
                    map(astuple, units),
                    versions=[(version.kind, version.version_id) for version in versions],
                    voted=[(unit.round, unit.attempt, item) for unit, item in voted],
                    heads=heads.items(),
                    kept={astuple(unit): files for unit, files in kept.items()},
                )
            )
        self._write_count()

    def write_record(self, name: str, value: Any) -> None:
        """Keep a named value, in place of an earlier one."""
        row = (_RECORD + name, _json(value))
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
            astuple(unit),
        )
        self._insert_files(rows["files"])
        self._connection.executemany("DELETE FROM files WHERE path = ?", rows["dropped"])
        for name in ("candidates", "redrawn", "votes", "versions", "heads", "events"):
            # A head is moved, and a candidate whose clip went bad; all else is written once.
            verb = "INSERT OR REPLACE" if name in ("heads", "redrawn") else "INSERT"
            table = "candidates" if name == "redrawn" else name
            for row in rows[name]:
                marks = ", ".join("?" * len(row))
                self._connection.execute(f"{verb} INTO {table} VALUES ({marks})", row)

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

    # Reading

    def read_record(self, name: str) -> Any | None:
        """Return the named value that was kept last; None for none."""
        rows = self._rows("SELECT value FROM meta WHERE key = ?", _RECORD + name)
        return ledger_backup.stored(rows[0][0], self.path) if rows else None

    def is_done(self, unit: Unit) -> bool:
        """Tell whether `unit` was committed."""
        query = "SELECT 1 FROM units WHERE (round, attempt, stage, unit_index) = (?, ?, ?, ?)"
        return bool(self._rows(query, *astuple(unit)))

    def units(self) -> list[Unit]:
        """List all units in the order of their commits."""
        query = "SELECT round, attempt, stage, unit_index FROM units ORDER BY counter"
        return [Unit(*row) for row in self._rows(query)]

    def candidates(self, round: int | None = None) -> list[Candidate]:
        """Return a round's candidates, or those of all rounds, by prompt, index and draw."""
        columns = ", ".join(f'"{field.name}"' for field in fields(Candidate))
        query = f"SELECT {columns} FROM candidates WHERE ?1 IS NULL OR round = ?1"
        query += ' ORDER BY round, prompt_id, "index", draw, candidate_id'
        return [Candidate(*row) for row in self._rows(query, round)]

    def votes(self, round: int, attempt: int, kind: VoteKind) -> list[Vote]:
        """Read the attempt's votes of one kind, ordered by key, without their reasoning."""
        query = (
            "SELECT item, dimension, draw_order, draw, outcome, log_prob, '', score FROM votes"
            " WHERE round = ? AND attempt = ? AND kind = ?"
            " ORDER BY item, dimension, critic_version, draw_order, draw"
        )
        return [Vote(*row) for row in self._rows(query, round, attempt, kind)]

    def all_votes(self) -> list[CastVote]:
        """Return the votes of all rounds by key, without their reasoning."""
        query = (
            "SELECT round, attempt, kind, critic_version, item, dimension, draw_order, draw,"
            " outcome, log_prob, '', score FROM votes ORDER BY 1, 2, 3, 5, 6, 4, 7, 8"
        )
        return [
            CastVote(round, attempt, kind, critic, Vote(*vote))
            for round, attempt, kind, critic, *vote in self._rows(query)
        ]

    def version(self, kind: ModelKind, version_id: str) -> Version:
        """Return a model by its id; raise DataError where the ledger does not know it."""
        query = "SELECT * FROM versions WHERE kind = ? AND version_id = ?"
        for row in self._rows(query, kind, version_id):
            return Version(*row)
        raise DataError(f"{self.path}: no {kind} {version_id!r}. Known: {self._known(kind)}.")

    def versions(self) -> list[Version]:
        """Return all models that the run began with or made, by kind and id."""
        return [Version(*row) for row in self._rows("SELECT * FROM versions ORDER BY 1, 2")]

    def head(self, kind: ModelKind) -> Version | None:
        """Return the model that serves now; None before the first."""
        rows = self._rows("SELECT version_id FROM heads WHERE kind = ?", kind)
        return self.version(kind, rows[0][0]) if rows else None

    def event(self, unit: Unit, kind: type[Recorded]) -> Recorded | None:
        """Return the event of this class that `unit` committed; None if it committed none."""
        return next((event for where, event in self.events(kind) if where == unit), None)

    @overload
    def events(self) -> list[tuple[Unit, Event]]: ...

    @overload
    def events(self, kind: type[Recorded]) -> list[tuple[Unit, Recorded]]: ...

    def events(self, kind: type[Event] | None = None) -> list[tuple[Unit, Any]]:
        """Return the events of one class, or all, with their units, by key.

        An event or a field that another version of dualipo wrote is left out; its name is added
        to `unknown`, for `event_names.in_words`.
        """
        query = (
            "SELECT round, attempt, stage, unit_index, name, value FROM events"
            " WHERE name GLOB ? ORDER BY 1, 2, 3, 4, 5"
        )
        pattern = event_names.pattern_of(kind) if kind else "*"
        recorded = []
        for *unit, name, text in self._rows(query, pattern):
            value = ledger_backup.stored(text, self.path)
            event = event_names.read(name, value, subject=str(self.path), unknown=self.unknown)
            if event is not None:
                recorded.append((Unit(*unit), event))
        return recorded

    def files(self) -> dict[str, str]:
        """Return every published path with its sha256."""
        return dict(self._rows("SELECT path, sha256 FROM files ORDER BY path"))

    def files_at(self, name: str) -> dict[str, str]:
        """Return the sha256 of a published file, or of all files of a folder, by path."""
        query = "SELECT path, sha256 FROM files WHERE path = ?1 OR (path > ?1 || '/' AND path < ?1"
        return dict(self._rows(f"{query} || '0') ORDER BY path", name))  # "0" follows "/"

    def clips(self) -> set[str]:
        """Return the sha256 of every clip that is published."""
        query = "SELECT sha256 FROM files WHERE path GLOB 'clips/*'"
        return {row[0] for row in self._rows(query)}

    def graded(self, round: int) -> set[str]:
        """Return what a critic was asked about alone in a round: ids of candidates."""
        query = "SELECT DISTINCT item FROM votes WHERE round = ? AND kind = 'point'"
        return {row[0] for row in self._rows(query, round)}

    def owners(self) -> dict[str, Unit]:
        """Return the unit that first published each path."""
        query = "SELECT path, round, attempt, stage, unit_index FROM files ORDER BY path"
        return {path: Unit(*unit) for path, *unit in self._rows(query)}

    def digest(self) -> str:
        """Hash all logical rows by key: equal for a resumed and an uninterrupted run."""
        hashed = hashlib.sha256()
        for table, query in schema.LOGICAL_ROWS.items():
            for row in self._rows(query):
                hashed.update(_json([table, *row]).encode() + b"\n")
        return hashed.hexdigest()

    def _known(self, kind: ModelKind) -> str:
        rows = self._rows("SELECT version_id FROM versions WHERE kind = ? ORDER BY 1", kind)
        return ", ".join(row[0] for row in rows) or "none"

    def _rows(self, query: str, *values: Any) -> list[Any]:
        with self._errors():
            return self._connection.execute(query, values).fetchall()

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            with atomic.storage_errors(self.path):
                yield
        except sqlite3.ProgrammingError:
            raise  # our own mistake, not the disk's
        except sqlite3.IntegrityError as clash:
            raise DataError(
                f"{self.path}: {clash}: a row is there twice, or names a model that is not. "
                "The unit was not committed; report this with the run's log."
            ) from clash
        except sqlite3.DatabaseError as failure:
            is_refusal = isinstance(failure, sqlite3.OperationalError)
            if is_refusal and "no such" not in str(failure):  # table or column: another file
                raise StorageError(_explain(self.path, failure)) from failure
            raise ledger_backup.damaged(self.path, failure) from failure


def _explain(path: Path, refusal: sqlite3.DatabaseError) -> str:
    if "locked" in str(refusal):
        return (
            f"{path}: another process has been writing for {BUSY_SECONDS:.0f} s. End it, then "
            "repeat the command."
        )
    if "full" in str(refusal):
        return (
            f"{path}: {os.strerror(errno.ENOSPC)}. The last unit was not committed; free some "
            "space and repeat the command: it resumes where it stopped."
        )
    return f"{path}: {refusal}. Check that the folder is there and writable, then repeat."


def _vote_row(unit: Unit, kind: VoteKind, critic_version: str, vote: Vote) -> tuple[Any, ...]:
    key = (unit.round, unit.attempt, kind, vote.item, vote.dimension, critic_version)
    return (*key, vote.order, vote.draw, vote.outcome, vote.log_prob, vote.score)


def _json(value: Any) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
