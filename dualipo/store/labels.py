"""The label book: what people are asked and what they answered, in one SQLite file of its own.

The run's ledger has one writer, the driver, so labels made while it works stand beside it (WAL,
`labels.sqlite`). A label is one answer about one task in one dimension; it is committed before its
receipt is sent, once however often it is sent (fault 57), and undone by a mark, never deleted.
Outcomes are stored in the item's own A and B, whichever side they were shown on.

Left out: which question comes next (`preferences/label_queue.py`), agreement, and reading the book
back as records (`store/label_records.py`). Nothing here reads a clock (fault 59).
"""

import hashlib
import json
import secrets
import sqlite3
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from dualipo.errors import DataError, StorageError
from dualipo.records import DIMENSIONS, SCHEMA_VERSION
from dualipo.store import atomic, reading
from dualipo.store.label_tables import QUEUE, TABLES, TASKS, WORDS

BUSY_SECONDS = 30.0
SWAPPED: dict[str, str] = {"a": "b", "b": "a"}
OUTCOMES = {"pair": ("a", "b", "tie", "abstain"), "point": ("good", "normal", "bad", "abstain")}

ItemKind = Literal["pair", "point"]
Receipt = Literal["saved", "replayed", "other body", "answered already", "no such question"]


@dataclass(frozen=True, slots=True)
class LabelItem:
    """A question worth asking: two clips of one caption, or one (`clip_b` is then empty).

    `origin_a` and `origin_b` say who made the clips; they never leave the server (fault 58).
    `gold` is the known answer by dimension, for items that measure the annotator.
    """

    kind: ItemKind
    prompt_id: str
    caption: str
    clip_a: str
    clip_b: str = ""
    origin_a: str = ""
    origin_b: str = ""
    round: int = -1
    priority: float = 0.0
    num_wanted: int = 1
    gold: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of_pair(
        cls, prompt_id: str, caption: str, clips: Mapping[str, str], *, round: int = -1
    ) -> "LabelItem":
        """Build a pair from {clip: who made it}; A is the smaller hash, so it has one spelling."""
        (clip_a, origin_a), (clip_b, origin_b) = sorted(clips.items())
        return cls("pair", prompt_id, caption, clip_a, clip_b, origin_a, origin_b, round)

    @property
    def item_id(self) -> str:
        """Return the question's id: the same whoever asks it."""
        name = "\0".join((self.kind, self.prompt_id, self.clip_a, self.clip_b))
        return hashlib.sha256(name.encode()).hexdigest()[:20]


@dataclass(frozen=True, slots=True)
class Task:
    """An item in front of an annotator; `answered` holds the answers given, as shown."""

    task_id: str
    position: int
    kind: ItemKind
    caption: str
    clip_a: str
    clip_b: str
    is_swapped: bool
    answered: Mapping[str, str]

    def shown(self, side: str) -> str:
        """Return the clip that this annotator sees as A or as B; "" for a side that is missing."""
        is_swapped = self.is_swapped and self.kind == "pair"
        return self.clip_b if (side == "b") != is_swapped else self.clip_a


@dataclass(frozen=True, slots=True)
class QueueItem:
    """An item as the queue weighs it for one annotator, who saw it at positions `seen_at`."""

    item_id: str
    priority: float
    num_wanted: int
    is_gold: bool
    num_taken: int
    num_done: int
    seen_at: tuple[int, ...]
    is_swapped: bool


@dataclass(frozen=True, slots=True)
class Choice:
    """The item that an annotator shall see next, and how it is shown."""

    item_id: str
    is_swapped: bool
    is_repeat: bool


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer as the page sends it, in terms of the sides that were shown."""

    task_id: str
    dimension: str
    outcome: str
    reason: str = ""
    seconds: float = 0.0


Choose = Callable[[str, int, Sequence[QueueItem]], Choice | None]


class LabelBook:
    """An open label book, created at `path` if need be. Threads may share it.

    A book that is opened to be read is created nowhere, and nothing beside it.
    """

    def __init__(
        self, path: Path, *, dimensions: Sequence[str] = DIMENSIONS, read_only: bool = False
    ) -> None:
        self.path = path
        self._is_read_only = read_only
        self._lock = threading.RLock()
        self._open = ExitStack()
        with self._errors():
            if read_only:
                self._connection = reading.connect(path, seconds=BUSY_SECONDS, until=self._open)
            else:
                self._create(dimensions)
            self._require_version()
        self.dimensions: tuple[str, ...] = tuple(json.loads(self._meta("dimensions")))
        self.seed = int(self._meta("seed"))

    def _create(self, dimensions: Sequence[str]) -> None:
        with self._errors():
            atomic.make_folder(self.path.parent)
            atomic.make_private(self.path)
            self._connection = sqlite3.connect(
                self.path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False
            )
            self._open.callback(self._connection.close)
            self._connection.execute("PRAGMA journal_mode = WAL")
            self._connection.execute("PRAGMA synchronous = FULL")
            self._connection.execute("PRAGMA foreign_keys = ON")
            with self._transaction():
                self._prepare(dimensions)

    def close(self) -> None:
        """Fold the write-ahead log into the file."""
        with self._lock:
            self._open.close()

    # People

    def invite(self, annotator: str) -> str:
        """Return a new token for `annotator`; only its hash is kept. Earlier ones go on working."""
        token = secrets.token_urlsafe(24)
        with self._writing():
            self._run("INSERT INTO tokens VALUES (?, ?)", _hash(token), annotator)
        return token

    def revoke(self, annotator: str) -> int:
        """Make every token of `annotator` void and return their number; the labels stay."""
        with self._writing():
            return self._run("DELETE FROM tokens WHERE annotator = ?", annotator).rowcount

    def annotator_of(self, token: str) -> str | None:
        """Return the annotator whose token this is; None for nobody's."""
        rows = self.rows("SELECT annotator FROM tokens WHERE token_sha256 = ?", _hash(token))
        return rows[0][0] if rows else None

    # Questions

    def add_items(self, items: Iterable[LabelItem]) -> int:
        """Add what is new, renew the priority and gold of the rest; return how many were new."""
        before = self.num_items()
        with self._writing():
            for item in items:
                assert not item.clip_b or item.clip_a < item.clip_b, "a pair has one spelling"
                gold = json.dumps(dict(item.gold), sort_keys=True) if item.gold else ""
                clips = (item.clip_a, item.clip_b, item.origin_a, item.origin_b)
                self._run(
                    f"INSERT INTO items VALUES ({', '.join('?' * 12)}) ON CONFLICT (item_id)"
                    " DO UPDATE SET priority = excluded.priority,"
                    " gold = CASE excluded.gold WHEN '' THEN gold ELSE excluded.gold END",
                    *(item.item_id, item.kind, item.prompt_id, item.caption, *clips),
                    *(item.round, item.priority, item.num_wanted, gold),
                )
        return self.num_items() - before

    def num_items(self) -> int:
        """Count the items of the book."""
        return int(self.rows("SELECT COUNT(*) FROM items")[0][0])

    def queue_items(self, annotator: str) -> list[QueueItem]:
        """List every item with what the queue weighs for this annotator."""
        return [
            QueueItem(
                item_id=row[0],
                priority=row[1],
                num_wanted=row[2],
                is_gold=bool(row[3]),
                num_taken=row[4],
                num_done=row[5],
                seen_at=tuple(sorted(int(at) for at in row[6].split(","))) if row[6] else (),
                is_swapped=bool(row[7]),
            )
            for row in self.rows(QUEUE, annotator)
        ]

    def open_tasks(self, annotator: str, *, choose: Choose, num: int = 2) -> list[Task]:
        """Return the annotator's open tasks in order; fill them up to `num` by `choose`."""
        with self._writing():
            for _ in range(num - len(self._open_ids(annotator))):
                query = "SELECT COUNT(*) FROM tasks WHERE annotator = ?"
                position = self.rows(query, annotator)[0][0]
                choice = choose(annotator, position, self.queue_items(annotator))
                if choice is None:
                    break
                row = (secrets.token_hex(12), annotator, position, choice.item_id)
                flags = (choice.is_swapped, choice.is_repeat)
                self._run("INSERT INTO tasks VALUES (?, ?, ?, ?, ?, ?, 0)", *row, *flags)
            return [self._task(task_id) for task_id in self._open_ids(annotator)]

    def task(self, task_id: str, annotator: str) -> Task | None:
        """Return a task of this annotator's own; None for anybody else's."""
        rows = self.rows(
            "SELECT 1 FROM tasks WHERE task_id = ? AND annotator = ?", task_id, annotator
        )
        return self._task(task_id) if rows else None

    # Answers

    def answer(self, annotator: str, answer: Answer, *, key: str) -> Receipt:
        """Record an answer under an idempotency key; it is durable when this returns."""
        with self._writing():
            task = self.task(answer.task_id, annotator)
            if task is None or answer.dimension not in self.dimensions:
                return "no such question"
            if answer.outcome not in OUTCOMES[task.kind]:
                return "no such question"
            outcome = as_shown(answer.outcome, task.is_swapped)
            body = (answer.task_id, answer.dimension, outcome, answer.reason)
            query = "SELECT task_id, dimension, outcome, reason FROM labels"
            if known := self.rows(f"{query} WHERE annotator = ? AND key = ?", annotator, key):
                return "replayed" if tuple(known[0]) == body else "other body"
            if answer.dimension in task.answered:
                return "answered already"
            self._run(
                "INSERT INTO labels (annotator, key, task_id, dimension, outcome, reason, seconds)"
                " VALUES (?, ?, ?, ?, ?, ?, ?)",
                *(annotator, key, *body, answer.seconds),
            )
            self._settle(answer.task_id)
            return "saved"

    def undo(self, annotator: str, *, key: str) -> Answer | None:
        """Take back the annotator's last answer and return it; once per key, however often sent."""
        with self._writing():
            query = "SELECT counter FROM undos WHERE annotator = ? AND key = ?"
            if known := self.rows(query, annotator, key):
                return self._answer(known[0][0])
            query = "SELECT MAX(counter) FROM labels WHERE annotator = ? AND is_undone = 0"
            counter = self.rows(query, annotator)[0][0]
            if counter is None:
                return None
            self._run("INSERT INTO undos VALUES (?, ?, ?)", annotator, key, counter)
            self._run("UPDATE labels SET is_undone = 1 WHERE counter = ?", counter)
            undone = self._answer(counter)
            self._settle(undone.task_id)
            return undone

    def withdraw(self, counters: Iterable[int]) -> None:
        """Mark answers as undone for good: their tasks stay done, so nobody is asked again."""
        with self._writing():
            for counter in counters:
                self._run("UPDATE labels SET is_undone = 1 WHERE counter = ?", counter)

    def num_answers(self, annotator: str) -> int:
        """Count the answers of this annotator that were not undone."""
        query = "SELECT COUNT(*) FROM labels WHERE annotator = ? AND is_undone = 0"
        return int(self.rows(query, annotator)[0][0])

    def reasons(self, annotator: str, dimension: str, *, num: int) -> list[str]:
        """Return the reasons that this annotator gave last in a dimension, each once."""
        return [row[0] for row in self.rows(WORDS, annotator, dimension, num)]

    # Inside

    def rows(self, query: str, *values: Any) -> list[Any]:
        """Run a query and return its rows."""
        with self._lock, self._errors():
            return self._connection.execute(query, values).fetchall()

    def _prepare(self, dimensions: Sequence[str]) -> None:
        if not self.rows("SELECT 1 FROM sqlite_master WHERE name = 'meta'"):
            for statement in TABLES.split(";")[:-1]:
                self._run(statement)
            named = {
                "schema_version": str(SCHEMA_VERSION),
                "dimensions": json.dumps(list(dimensions)),
                "seed": str(secrets.randbits(62)),
            }
            for pair in named.items():
                self._run("INSERT INTO meta VALUES (?, ?)", *pair)

    def _require_version(self) -> None:
        if int(self._meta("schema_version")) > SCHEMA_VERSION:
            raise DataError(f"{self.path}: written by a newer dualipo. Use that one.")

    def _meta(self, key: str) -> str:
        return str(self.rows("SELECT value FROM meta WHERE key = ?", key)[0][0])

    def _open_ids(self, annotator: str) -> list[str]:
        query = "SELECT task_id FROM tasks WHERE annotator = ? AND is_done = 0 ORDER BY position"
        return [row[0] for row in self.rows(query, annotator)]

    def _task(self, task_id: str) -> Task:
        task_id, position, kind, caption, clip_a, clip_b, is_swapped = self.rows(
            f"{TASKS} WHERE t.task_id = ?", task_id
        )[0]
        query = "SELECT dimension, outcome FROM labels WHERE task_id = ? AND is_undone = 0"
        answered = {name: as_shown(said, is_swapped) for name, said in self.rows(query, task_id)}
        return Task(task_id, position, kind, caption, clip_a, clip_b, bool(is_swapped), answered)

    def _answer(self, counter: int) -> Answer:
        query = (
            "SELECT l.task_id, dimension, outcome, reason, seconds, is_swapped FROM labels l"
            " JOIN tasks t USING (task_id) WHERE counter = ?"
        )
        task_id, dimension, outcome, reason, seconds, is_swapped = self.rows(query, counter)[0]
        return Answer(task_id, dimension, as_shown(outcome, is_swapped), reason, seconds)

    def _settle(self, task_id: str) -> None:
        """Mark the task as done if every dimension has an answer that was not undone."""
        query = "SELECT COUNT(*) FROM labels WHERE task_id = ? AND is_undone = 0"
        is_done = self.rows(query, task_id)[0][0] == len(self.dimensions)
        self._run("UPDATE tasks SET is_done = ? WHERE task_id = ?", is_done, task_id)

    def _run(self, statement: str, *values: Any) -> sqlite3.Cursor:
        return self._connection.execute(statement, values)

    @contextmanager
    def _writing(self) -> Iterator[None]:
        with self._lock, self._errors(), self._transaction():
            yield

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._run("BEGIN IMMEDIATE")
        try:
            yield
            self._run("COMMIT")
        finally:
            if self._connection.in_transaction:
                self._run("ROLLBACK")

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            with atomic.storage_errors(self.path):
                yield
        except sqlite3.OperationalError as refusal:
            remedy = "Name a file of labels that `dualipo label` made."
            if not self._is_read_only:
                remedy = "The last answer was not saved; free some space or end whatever else is "
                remedy += "writing to it, then send it again."
            raise StorageError(f"{self.path}: {refusal}. {remedy}") from refusal
        except sqlite3.DatabaseError as damage:
            raise DataError(
                f"{self.path}: damaged or no label book ({damage}). Restore it from a backup."
            ) from damage


def as_shown(outcome: str, is_swapped: bool) -> str:
    """Turn an outcome in the item's own A and B into one in the sides shown, or the reverse."""
    return SWAPPED.get(outcome, outcome) if is_swapped else outcome


def _hash(token: str) -> str:
    # Tokens are random and long, so a plain hash is enough: there is nothing to guess.
    return hashlib.sha256(token.encode()).hexdigest()
