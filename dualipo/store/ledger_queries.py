"""What a ledger tells: its rows as records, whole or one after another.

A round of the paper's size has millions of votes and of files. What grows with them is counted by
SQLite, asked for item by item, or streamed; only what a caller keeps is in memory at once.
"""

import errno
import hashlib
import json
import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal, overload

from dualipo import event_names
from dualipo.errors import DataError, StorageError
from dualipo.events import ClockEvent, Event, Recorded
from dualipo.records import Candidate, Vote
from dualipo.store import atomic, ledger_backup, schema

BUSY_SECONDS = 30.0

VoteKind = Literal["pair", "point"]
ModelKind = Literal["generator", "critic"]

_VOTES = "SELECT item, dimension, draw_order, draw, outcome, log_prob, '', score FROM votes"
_ARE_CLIPS = "path > 'clips/' AND path < 'clips0'"  # "0" follows "/"
RECORD = "record."  # begins the keys of named values in `meta`


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


class LedgerQueries:
    """The questions that an open ledger answers; `Ledger` opens it, and writes."""

    path: Path
    unknown: set[str]  # events and fields that another version of dualipo wrote
    _connection: sqlite3.Connection

    def read_record(self, name: str) -> Any | None:
        """Return the named value that was kept last; None for none."""
        rows = self._rows("SELECT value FROM meta WHERE key = ?", RECORD + name)
        return ledger_backup.stored(rows[0][0], self.path) if rows else None

    def is_done(self, unit: Unit) -> bool:
        """Tell whether `unit` was committed."""
        query = "SELECT 1 FROM units WHERE (round, attempt, stage, unit_index) = (?, ?, ?, ?)"
        return bool(self._rows(query, unit.round, unit.attempt, unit.stage, unit.index))

    def units(self) -> list[Unit]:
        """List all units in the order of their commits."""
        query = "SELECT round, attempt, stage, unit_index FROM units ORDER BY counter"
        return [Unit(*row) for row in self._rows(query)]

    def newest_round(self, *, apart_from: str = "") -> int | None:
        """Return the last round that has a unit, `apart_from` those of a stage; None for none."""
        query = "SELECT round FROM units WHERE stage <> ? ORDER BY round DESC LIMIT 1"
        rows = self._rows(query, apart_from)
        return rows[0][0] if rows else None

    def stage_units(self) -> dict[Unit, int]:
        """Count the units of each stage of each attempt; a closing unit, index -1, stands apart."""
        query = (
            "SELECT round, attempt, stage, MIN(unit_index, 0), COUNT(*) FROM units"
            " GROUP BY 1, 2, 3, 4 ORDER BY 1, 2, 3, 4"
        )
        return {Unit(*unit): num for *unit, num in self._rows(query)}

    def done_indices(self, stage: Unit) -> list[int]:
        """Return the indices of a stage's units that were committed, in order."""
        query = "SELECT unit_index FROM units WHERE round = ? AND attempt = ? AND stage = ?"
        rows = self._rows(f"{query} ORDER BY 1", stage.round, stage.attempt, stage.stage)
        return [index for (index,) in rows]

    def candidates(self, round: int | None = None) -> list[Candidate]:
        """Return a round's candidates, or those of all rounds, by prompt, index and draw."""
        order = 'ORDER BY round, prompt_id, "index", draw, candidate_id'
        return list(self._candidates(f"WHERE ?1 IS NULL OR round = ?1 {order}", round))

    def candidates_named(self, beginning: str) -> Iterator[Candidate]:
        """Yield the candidates whose ids begin so, by id; `beginning` ends with "-"."""
        where = "WHERE candidate_id > ? AND candidate_id < ? ORDER BY candidate_id"
        return self._candidates(where, *_between(beginning))

    def num_candidates(self, beginning: str) -> int:
        """Count the candidates that `candidates_named` yields."""
        query = "SELECT COUNT(*) FROM candidates WHERE candidate_id > ? AND candidate_id < ?"
        return int(self._rows(query, *_between(beginning))[0][0])

    def _candidates(self, where: str, *values: Any) -> Iterator[Candidate]:
        columns = ", ".join(f'"{field.name}"' for field in fields(Candidate))
        same: dict[str, str] = {}  # a prompt's candidates share one caption in memory
        for row in self._stream(f"SELECT {columns} FROM candidates {where}", *values):
            candidate_id, prompt_id, caption, *rest = row
            prompt_id, caption = (same.setdefault(text, text) for text in (prompt_id, caption))
            yield Candidate(candidate_id, prompt_id, caption, *rest)

    def votes(self, round: int, attempt: int, kind: VoteKind) -> list[Vote]:
        """Read the attempt's votes of one kind, ordered by key, without their reasoning."""
        return list(self.each_vote(round, attempt, kind))

    def each_vote(self, round: int, attempt: int, kind: VoteKind) -> Iterator[Vote]:
        """Yield what `votes` returns, one by one."""
        order = "ORDER BY item, dimension, critic_version, draw_order, draw"
        query = f"{_VOTES} WHERE round = ? AND attempt = ? AND kind = ? {order}"
        return (Vote(*row) for row in self._stream(query, round, attempt, kind))

    def votes_on(
        self, items: Sequence[str], *, round: int, attempt: int, kind: VoteKind
    ) -> list[Vote]:
        """Return the attempt's votes on these items, by key, without their reasoning."""
        marks = ", ".join("?" * len(items))
        where = f"WHERE round = ? AND attempt = ? AND kind = ? AND item IN ({marks})"
        order = "ORDER BY item, dimension, critic_version, draw_order, draw"
        rows = self._rows(f"{_VOTES} {where} {order}", round, attempt, kind, *items)
        return [Vote(*row) for row in rows]

    def voted_items(self, round: int, attempt: int, kind: VoteKind, critic: str) -> set[str]:
        """Return the items that a critic has voted on in an attempt."""
        query = (
            "SELECT DISTINCT item FROM votes"
            " WHERE round = ? AND attempt = ? AND kind = ? AND critic_version = ?"
        )
        return {item for (item,) in self._stream(query, round, attempt, kind, critic)}

    def num_votes(
        self, round: int, attempt: int | None = None, *, outcome: str | None = None
    ) -> dict[str, int]:
        """Count votes by their kind: a round's, or those of one attempt or with one outcome."""
        query = (
            "SELECT kind, COUNT(*) FROM votes WHERE round = ?1 AND (?2 IS NULL OR attempt = ?2)"
            " AND (?3 IS NULL OR outcome = ?3) GROUP BY kind"
        )
        return {"point": 0, "pair": 0} | dict(self._rows(query, round, attempt, outcome))

    def all_votes(self) -> list[CastVote]:
        """Return the votes of all rounds by key, without their reasoning."""
        query = (
            "SELECT round, attempt, kind, critic_version, item, dimension, draw_order, draw,"
            " outcome, log_prob, '', score FROM votes ORDER BY 1, 2, 3, 5, 6, 4, 7, 8"
        )
        return [
            CastVote(round, attempt, kind, critic, Vote(*vote))
            for round, attempt, kind, critic, *vote in self._stream(query)
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
        if kind is None:
            return list(self._events("TRUE"))
        return list(self._events("name BETWEEN ? AND ?", *event_names.range_of(kind)))

    def round_events(self) -> list[tuple[Unit, Event]]:
        """Return all events but clocks, and what each unit of a stage commits, by key."""
        marks = ", ".join("?" * len(event_names.OF_UNITS))
        where = f"name NOT BETWEEN ? AND ? AND name NOT IN ({marks})"
        clocks = event_names.range_of(ClockEvent)
        return list(self._events(where, *clocks, *event_names.OF_UNITS))

    def clock_sums(self) -> list[tuple[Unit, ClockEvent, int]]:
        """Return the clocks of a stage's units together, by device, and how many they are.

        They have the index 0; the clock of a closing unit, which has the index -1, is apart.
        """
        query = (
            "SELECT round, attempt, stage, MIN(unit_index, 0) AS closing, name,"
            " json_extract(value, '$.device'), json_extract(value, '$.num_devices'),"
            " SUM(json_extract(value, '$.seconds')), MAX(json_extract(value, '$.peak_mb')),"
            " COUNT(*) FROM events WHERE name BETWEEN ? AND ?"
            " GROUP BY 1, 2, 3, 4, 5, 6, 7 ORDER BY 1, 2, 3, 4, 5, 6, 7"
        )
        sums = []
        for *unit, name, device, num_devices, seconds, peak_mb, num in self._rows(
            query, *event_names.range_of(ClockEvent)
        ):
            clock = ClockEvent(
                stage=event_names.clocked_stage(name),
                seconds=seconds,
                peak_mb=peak_mb,
                device=device,
                num_devices=num_devices,
            )
            sums.append((Unit(*unit), clock, num))
        return sums

    def _events(self, where: str, *values: Any) -> Iterator[tuple[Unit, Any]]:
        query = (
            "SELECT round, attempt, stage, unit_index, name, value FROM events"
            f" WHERE {where} ORDER BY 1, 2, 3, 4, 5"
        )
        for *unit, name, text in self._rows(query, *values):
            value = ledger_backup.stored(text, self.path)
            event = event_names.read(name, value, subject=str(self.path), unknown=self.unknown)
            if event is not None:
                yield Unit(*unit), event

    def files(self) -> dict[str, str]:
        """Return every published path with its sha256."""
        return dict(self._rows("SELECT path, sha256 FROM files ORDER BY path"))

    def files_at(self, name: str) -> dict[str, str]:
        """Return the sha256 of a published file, or of all files of a folder, by path."""
        query = "SELECT path, sha256 FROM files WHERE path = ?1 OR (path > ?1 || '/' AND path < ?1"
        return dict(self._rows(f"{query} || '0') ORDER BY path", name))  # "0" follows "/"

    def has_file(self, path: str) -> bool:
        """Tell whether a unit published a file at this path."""
        return bool(self._rows("SELECT 1 FROM files WHERE path = ?", path))

    def has_files_below(self, folder: str) -> bool:
        """Tell whether a unit published a file in this folder or below it."""
        query = "SELECT 1 FROM files WHERE path > ?1 || '/' AND path < ?1 || '0' LIMIT 1"
        return bool(self._rows(query, folder))  # "0" follows "/"

    def each_file_but_clips(self) -> Iterator[str]:
        """Yield every published path but the clips'."""
        query = "SELECT path FROM files WHERE path < 'clips/' OR path >= 'clips0'"
        return (path for (path,) in self._stream(query))

    def each_clip(self) -> Iterator[str]:
        """Yield the sha256 of every clip that is published."""
        query = f"SELECT sha256 FROM files WHERE {_ARE_CLIPS}"
        return (sha256 for (sha256,) in self._stream(query))

    def num_clips(self) -> int:
        """Count the clips that are published."""
        return int(self._rows(f"SELECT COUNT(*) FROM files WHERE {_ARE_CLIPS}")[0][0])

    def clips(self) -> set[str]:
        """Return the sha256 of every clip that is published."""
        return set(self.each_clip())

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
                hashed.update(as_json([table, *row]).encode() + b"\n")
        return hashed.hexdigest()

    def _known(self, kind: ModelKind) -> str:
        rows = self._rows("SELECT version_id FROM versions WHERE kind = ? ORDER BY 1", kind)
        return ", ".join(row[0] for row in rows) or "none"

    def _rows(self, query: str, *values: Any) -> list[Any]:
        with self._errors():
            return self._connection.execute(query, values).fetchall()

    def _stream(self, query: str, *values: Any) -> Iterator[Any]:
        """Yield rows one by one. Nothing may be written until the last one was taken."""
        with self._errors():
            yield from self._connection.execute(query, values)

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
            is_odd = "no such" in str(failure) or "JSON" in str(failure)  # another file, or torn
            if is_refusal and not is_odd:
                raise StorageError(_explain(self.path, failure)) from failure
            raise ledger_backup.damaged(self.path, failure) from failure


def _between(beginning: str) -> tuple[str, str]:
    """Return the texts between which all others are that begin so, with a "-" at its end."""
    assert beginning.endswith("-")
    return beginning, f"{beginning[:-1]}."  # "." follows "-"


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


def as_json(value: Any) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
