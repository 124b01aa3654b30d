"""The ledger: whole units, one key per vote, a digest that knows no clock, and durable order."""

import contextlib
import hashlib
import sqlite3
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from dualipo import failpoints
from dualipo.errors import DataError, StorageError
from dualipo.events import ClockEvent, HoldoutEvent, RewriteEvent
from dualipo.records import Candidate, Vote
from dualipo.store import schema
from dualipo.store.clips import ClipStore
from dualipo.store.ledger import Ledger, Unit, Version

CANDIDATE = Candidate("p1-0", "p1", "a red ball", 0, 0, 2**62, "ab" * 32, "g0", 1)
VOTE = Vote("p1-0:p1-1", "motion", "ba", 3, "abstain", -12.5, "<think>", None)
HOLDOUT = HoldoutEvent(critic_version="c0", accuracy=None)
VERSION = Version("critic", "c0", None, 1, 0, "rounds/001/critic", "cd" * 32)


@pytest.fixture
def ledger(tmp_path: Path):
    opened = Ledger(tmp_path / "ledger.sqlite")
    yield opened
    failpoints.arm("")
    opened.close()


def commit_everything(ledger: Ledger) -> None:
    ledger.commit_unit(Unit(1, 0, "sample"), files={"a": "aa"}, candidates=[CANDIDATE])
    ledger.commit_unit(Unit(1, 0, "refresh"), versions=[VERSION], heads={"critic": "c0"})
    ledger.commit_unit(
        Unit(1, 0, "confirm", 2),
        votes=[("pair", "c0", VOTE), ("point", "c0", replace(VOTE, outcome="good", score=0.9))],
        events=[HOLDOUT],
    )


def test_what_is_committed_is_read_back(ledger: Ledger) -> None:
    commit_everything(ledger)
    assert ledger.candidates(1) == [CANDIDATE] and ledger.candidates(0) == []
    assert ledger.votes(1, 0, "pair") == [replace(VOTE, reasoning="")]
    assert ledger.votes(1, 0, "point")[0].score == 0.9 and ledger.votes(1, 1, "pair") == []
    assert ledger.head("critic") == ledger.version("critic", "c0") == VERSION
    assert ledger.head("generator") is None and ledger.files() == {"a": "aa"}
    assert ledger.event(Unit(1, 0, "confirm", 2), HoldoutEvent) == HOLDOUT
    assert ledger.event(Unit(1, 0, "confirm", 1), HoldoutEvent) is None
    assert ledger.is_done(Unit(1, 0, "sample")) and not ledger.is_done(Unit(1, 1, "sample"))
    with pytest.raises(DataError, match=r"no critic 'c9'\. Known: c0"):
        ledger.version("critic", "c9")
    reader = Ledger(ledger.path, read_only=True)
    assert reader.digest() == ledger.digest()
    with pytest.raises(StorageError, match="readonly"):
        reader.commit_unit(Unit(5, 0, "sample"))
    reader.close()


def test_what_is_counted_or_streamed_is_what_reading_all_of_it_gives(ledger: Ledger) -> None:
    grades = [
        replace(VOTE, item=f"p{n}-{n % 2}", outcome=outcome, score=0.5, reasoning="")
        for n, outcome in enumerate(["good", "abstain", "bad", "good"])
    ]
    for index, grade in enumerate(grades):
        clock = ClockEvent(stage="score", seconds=index + 1.0, peak_mb=10.0 * index, device="cpu")
        ledger.commit_unit(
            Unit(1, 0, "score", index), votes=[("point", "c0", grade)], events=[clock]
        )
    ledger.commit_unit(Unit(1, 0, "sample", -1), files={"clips/ab.mp4": "ab", "rounds/x/y": "aa"})
    assert list(ledger.each_vote(1, 0, "point")) == ledger.votes(1, 0, "point") == grades
    assert ledger.votes_on(["p2-0", "p0-0"], round=1, attempt=0, kind="point") == [
        grades[0],
        grades[2],
    ]
    assert ledger.voted_items(1, 0, "point", "c0") == {grade.item for grade in grades}
    assert (
        ledger.voted_items(1, 0, "point", "c1") == ledger.voted_items(1, 1, "point", "c0") == set()
    )
    assert ledger.num_votes(1) == ledger.num_votes(1, 0) == {"point": 4, "pair": 0}
    assert ledger.num_votes(1, outcome="abstain")["point"] == 1
    assert ledger.done_indices(Unit(1, 0, "score")) == [0, 1, 2, 3]
    assert ledger.stage_units() == {Unit(1, 0, "score"): 4, Unit(1, 0, "sample", -1): 1}
    assert (ledger.newest_round(), ledger.newest_round(apart_from="score")) == (1, 1)
    [(unit, clock, num)] = ledger.clock_sums()
    assert (unit, clock.seconds, clock.peak_mb, num) == (Unit(1, 0, "score"), 10.0, 30.0, 4)
    assert ledger.round_events() == [] and len(ledger.events(ClockEvent)) == 4
    assert list(ledger.each_clip()) == ["ab"] and list(ledger.each_file_but_clips()) == [
        "rounds/x/y"
    ]
    assert ledger.has_file("rounds/x/y") and not ledger.has_file("rounds/x")
    assert ledger.has_files_below("rounds/x") and not ledger.has_files_below("rounds/x/y")


def test_an_older_ledger_without_the_index_reads_the_same_and_gets_it_once_written(
    ledger: Ledger,
) -> None:
    commit_everything(ledger)
    ledger.close()
    with contextlib.closing(sqlite3.connect(ledger.path)) as raw:
        raw.execute("DROP INDEX events_by_name")
    reader = Ledger(ledger.path, read_only=True)
    assert reader.events(HoldoutEvent) == [(Unit(1, 0, "confirm", 2), HOLDOUT)]
    digest = reader.digest()
    reader.close()
    Ledger(ledger.path).close()
    with contextlib.closing(sqlite3.connect(ledger.path)) as raw:
        plan = raw.execute("EXPLAIN QUERY PLAN SELECT 1 FROM events WHERE name = 'x'").fetchall()
    assert "events_by_name" in str(plan)
    reader = Ledger(ledger.path, read_only=True)
    assert reader.digest() == digest
    reader.close()


def test_a_dropped_file_has_no_row_once_its_unit_is_committed(ledger: Ledger) -> None:
    ledger.commit_unit(Unit(1, 0, "sample"), files={"a": "aa", "b": "bb"})
    failpoints.arm("enospc@1")  # before the commit
    with pytest.raises(StorageError):
        ledger.commit_unit(Unit(1, 0, "drop"), dropped=["a"])
    assert ledger.files() == {"a": "aa", "b": "bb"}
    ledger.commit_unit(Unit(1, 0, "drop"), dropped=["a"])
    assert ledger.files() == {"b": "bb"} and ledger.is_done(Unit(1, 0, "sample"))


def test_fault_04_a_vote_or_a_unit_cannot_be_there_twice(ledger: Ledger) -> None:
    commit_everything(ledger)
    before = ledger.digest()
    with pytest.raises(DataError, match="committed already"):
        ledger.commit_unit(Unit(1, 0, "sample"))
    with pytest.raises(DataError, match="UNIQUE"):
        ledger.commit_unit(Unit(1, 0, "confirm", 9), votes=[("pair", "c0", VOTE)])
    with pytest.raises(DataError, match="another file"):
        ledger.commit_unit(Unit(1, 0, "other"), files={"a": "bb"})
    with pytest.raises(DataError, match="FOREIGN KEY"):
        ledger.commit_unit(Unit(1, 0, "other"), heads={"critic": "c9"})
    assert ledger.digest() == before
    ledger.commit_unit(Unit(1, 0, "other"), files={"a": "aa"})  # equal clips of two units


@pytest.mark.parametrize("fault", ["enospc", "eio"])
def test_fault_15_a_commit_that_fails_leaves_nothing(ledger: Ledger, fault: str) -> None:
    before = ledger.digest()
    failpoints.arm(f"{fault}@1")
    if fault == "eio":  # retried
        ledger.commit_unit(Unit(1, 0, "sample"), candidates=[CANDIDATE])
        assert ledger.candidates(1) == [CANDIDATE]
        return
    with pytest.raises(StorageError, match=r"ledger\.sqlite: No space left"):
        ledger.commit_unit(Unit(1, 0, "sample"), candidates=[CANDIDATE])
    assert ledger.digest() == before and not ledger.is_done(Unit(1, 0, "sample"))
    ledger.commit_unit(Unit(1, 0, "sample"), candidates=[CANDIDATE])


def test_fault_40_newer_is_refused_and_older_migrates_after_a_backup(
    ledger: Ledger, monkeypatch
) -> None:
    commit_everything(ledger)
    before, path = ledger.digest(), ledger.path
    set_version = "UPDATE meta SET value = ? WHERE key = 'schema_version'"
    with sqlite3.connect(path) as raw:
        raw.execute(set_version, ("99",))
    with pytest.raises(DataError, match="schema version 99"):
        Ledger(path)
    with sqlite3.connect(path) as raw:
        raw.execute(set_version, ("0",))
    with pytest.raises(DataError, match="no migration"):
        Ledger(path)
    add = "ALTER TABLE meta ADD COLUMN note TEXT"
    monkeypatch.setitem(schema.MIGRATIONS, 0, lambda connection: connection.execute(add))
    migrated = Ledger(path)
    assert migrated.digest() == before
    migrated.close()
    with sqlite3.connect(path.with_name("ledger.sqlite.v0.bak")) as backup:
        assert backup.execute("SELECT * FROM meta").fetchall() == [("schema_version", "0")]


def test_fault_48_eight_writers_lose_nothing(ledger: Ledger) -> None:
    def write(writer: int) -> None:
        own = Ledger(ledger.path)
        for index in range(5):
            own.commit_unit(Unit(writer, 0, "sample", index), files={f"{writer}/{index}": "aa"})
        own.close()

    threads = [threading.Thread(target=write, args=(writer,)) for writer in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(ledger.units()) == len(ledger.files()) == 40


def test_fault_59_the_order_is_the_commits_whatever_the_clock(ledger: Ledger, monkeypatch) -> None:
    clock = iter(range(10**9, 0, -(10**6)))
    monkeypatch.setattr(time, "time", lambda: next(clock))
    units = [Unit(2, 0, "b"), Unit(1, 0, "z"), Unit(1, 0, "a")]
    for unit in units:
        ledger.commit_unit(unit)
    assert ledger.units() == units


def test_the_digest_sees_rows_and_neither_order_nor_clock(tmp_path: Path) -> None:
    digests = set()
    for order in (1, -1):
        ledger = Ledger(tmp_path / f"{order}.sqlite")
        for unit in [Unit(0, 0, "a"), Unit(0, 0, "b")][::order]:
            clock = ClockEvent(stage="sample", seconds=float(order), peak_mb=1.0)
            events = [clock, RewriteEvent(fates={"kept": 3})]
            ledger.commit_unit(unit, files={"shared": "aa"}, events=events)
        digests.add(ledger.digest())
        ledger.commit_unit(Unit(0, 0, "c"))
        assert ledger.digest() not in digests
        ledger.close()
    assert len(digests) == 1


def test_what_another_version_recorded_is_told_and_the_rest_is_read(ledger: Ledger) -> None:
    unit = Unit(0, 0, "monitor")
    ledger.commit_unit(unit, events=[HOLDOUT])
    ledger._connection.execute("UPDATE events SET value = json_set(value, '$.applause', 7)")
    ledger._connection.execute("INSERT INTO events VALUES (0, 0, 'monitor', 0, 'curtain', '{}')")
    assert ledger.unknown == set()
    assert ledger.events() == [(unit, HOLDOUT)]
    assert ledger.unknown == {"holdout.applause", "curtain"}


def test_a_file_that_is_no_ledger_is_named(tmp_path: Path) -> None:
    (tmp_path / "ledger.sqlite").write_bytes(b"not a database, whatever its name is" * 40)
    with pytest.raises(DataError, match=r"ledger\.sqlite: damaged or no ledger"):
        Ledger(tmp_path / "ledger.sqlite")


def test_a_row_vouches_only_for_what_was_synced(ledger: Ledger, synced) -> None:
    """Discard all that was not fsynced: every row's file is still there, whole."""
    store = ClipStore(ledger.path.parent / "clips")
    frames = np.random.default_rng(0).integers(0, 256, (2, 16, 16, 3), dtype=np.uint8)
    sha256 = store.put(frames, 8)
    name = store.path(sha256).relative_to(ledger.path.parent).as_posix()
    synced.at_commit(ledger)
    ledger.commit_unit(Unit(0, 0, "sample"), files={name: sha256})
    assert synced.steps[-4:] == ["fsync file", "rename", "fsync folder", "commit"]
    assert hashlib.sha256(synced.surviving(store.path(sha256))).hexdigest() == sha256


FILL_DISK = """
import pathlib, resource, sys
from dualipo.errors import StorageError
from dualipo.events import RewriteEvent
from dualipo.store.ledger import Ledger, Unit
EVENT = RewriteEvent(fates={"x" * 9000: 1})
ledger = Ledger(pathlib.Path(sys.argv[1]))
resource.setrlimit(resource.RLIMIT_FSIZE, (150_000, resource.RLIM_INFINITY))
try:
    for index in range(100):
        ledger.commit_unit(Unit(0, 0, "sample", index), events=[EVENT])
except StorageError as error:
    print(error)
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
assert ledger.units() == [Unit(0, 0, "sample", past) for past in range(index)]
ledger.commit_unit(Unit(0, 0, "sample", index), events=[EVENT])
print(index)
"""


def test_fault_15_a_ledger_that_cannot_grow_keeps_what_it_has(tmp_path: Path) -> None:
    command = [sys.executable, "-c", FILL_DISK, str(tmp_path / "ledger.sqlite")]
    ran = subprocess.run(command, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    message, index = ran.stdout.splitlines()
    assert "ledger.sqlite" in message and "repeat" in message
    ledger = Ledger(tmp_path / "ledger.sqlite")
    assert len(ledger.units()) == int(index) + 1 > 1
    ledger.close()


def test_a_commit_reaches_the_disk_before_it_returns(ledger: Ledger) -> None:
    """Require what SQLite calls FULL, which is 2: a power cut after a commit must not lose it."""
    assert ledger._connection.execute("PRAGMA synchronous").fetchone() == (2,)
    assert ledger._connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
