"""A run's folder in which somebody copied, edited or damaged a file: each row states what is said.

Every command that reads a run, and resuming it, ends well or in one error with a remedy, and
changes nothing of what it refuses.
"""

import os
import re
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from dualipo import attempt_log
from dualipo.cli import main
from dualipo.errors import DualipoError
from dualipo.store.rundir import RunDir
from tests.store import small_run

Change = Callable[[Path], object]
DEEP = "[" * 100_000
LEDGER = "ledger.sqlite"
WELL = ""  # nothing is said


def text(name: str, content: str) -> Change:
    def change(run: Path) -> None:
        (run / name).parent.mkdir(exist_ok=True)
        (run / name).write_text(content)

    return change


def folder(name: str) -> Change:
    def change(run: Path) -> None:
        (run / name).unlink(missing_ok=True)
        (run / name).mkdir()

    return change


def query(*queries: str) -> Change:
    def change(run: Path) -> None:
        with sqlite3.connect(run / LEDGER) as connection:
            for words in queries:
                connection.execute(words)
        connection.close()

    return change


def emptied(run: Path) -> None:
    (run / LEDGER).unlink()
    query("CREATE TABLE other (a)")(run)


REMEDY = r'Replace what is in it by {"kind": "dualipo run", "schema_version": 1}'
RESTORE = "Restore .*ledger.sqlite from a backup"
# What status says, and what resuming says.
ROWS: dict[str, tuple[Change, str, str]] = {
    "a copied log": (text("logs/attempt-1 (copy).log", ""), WELL, WELL),
    "a log of no number": (text("logs/attempt-x.log", ""), WELL, WELL),
    "a log with other digits": (text("logs/attempt-٣.log", ""), WELL, WELL),
    "a log that is a folder": (folder("logs/attempt-7.log"), WELL, WELL),
    "run.json torn": (text("run.json", "{"), REMEDY, REMEDY),
    "run.json empty": (text("run.json", ""), REMEDY, REMEDY),
    "run.json deep": (text("run.json", DEEP), REMEDY, REMEDY),
    "run.json without a version": (text("run.json", '{"kind": "dualipo run"}'), REMEDY, REMEDY),
    "run.json with a version in words": (
        text("run.json", '{"kind": "dualipo run", "schema_version": "1"}'),
        "its schema_version is no whole number",
        REMEDY,
    ),
    "run.json of another": (text("run.json", '{"kind": 3}'), "another program's", "another"),
    "tuning.json without a command": (text("tuning.json", "{}"), WELL, WELL),
    "LOCK deep": (text("LOCK", DEEP), WELL, WELL),
    "LOCK binary": (text("LOCK", "\x00\x01"), WELL, WELL),
    "config.json torn": (text("config.json", "{"), r"config\.json:1: it is not JSON", WELL),
    "metrics of another": (
        text("metrics.jsonl", '{"step": 1}\n{"step": 2, "stage": [1]}\n'),
        r"metrics\.jsonl:2: its stage names no step\. Delete that line",
        WELL,
    ),
    "metrics with NUL": (
        text("metrics.jsonl", '{"step": 1}\n\0\0\0\n'),
        r"metrics\.jsonl:2: this is not JSON",
        WELL,
    ),
    "another database": (emptied, f"no such table: meta.*{RESTORE}", "missing or empty"),
    "a table is missing": (query("DROP TABLE events"), f"no such table.*{RESTORE}", RESTORE),
    "no version in the ledger": (query("DELETE FROM meta"), "has no schema version", "no schema"),
    "a version in words": (
        query("UPDATE meta SET value = 'x' WHERE key = 'schema_version'"),
        "has no schema version",
        "has no schema version. Restore the file",
    ),
    "an event torn": (  # which resuming reads when a stage asks for it
        query("UPDATE events SET value = '{'"),
        f"a value in it is not JSON.*{RESTORE}",
        WELL,
    ),
    "an event deep": (query(f"UPDATE events SET value = '{DEEP}'"), "nested deeper", WELL),
    "settings torn": (
        query("UPDATE meta SET value = '{' WHERE key LIKE '%settings'"),
        WELL,
        f"a value in it is not JSON.*{RESTORE}",
    ),
    "settings a list": (
        query("UPDATE meta SET value = '[1]' WHERE key LIKE '%settings'"),
        WELL,
        f"its settings are no table.*{RESTORE}",
    ),
    "a write-ahead log of noise": (text("ledger.sqlite-wal", "x" * 5000), WELL, WELL),
    "a stray folder": (folder("rounds/notes"), WELL, WELL),
}


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = small_run.make(tmp_path_factory.mktemp("odd") / "run")
    run.close()
    return run.path


@pytest.mark.parametrize("name", ROWS)
def test_fault_97_an_odd_file_of_a_run_is_passed_by_or_named(
    name: str, sound: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    change, shown, resumed = ROWS[name]
    run = Path(shutil.copytree(sound, tmp_path / "run"))
    change(run)
    before = sorted(run.rglob("*"))
    assert bool(main.main(["status", str(run)])) == bool(shown)
    said = capsys.readouterr().err
    if shown is WELL:
        assert said == ""
    else:
        _matches(shown, said)
    assert sorted(run.rglob("*")) == before
    if resumed is WELL:
        RunDir.open(run, small_run.SETTINGS).close()
        return
    with pytest.raises(DualipoError) as refusal:
        RunDir.open(run, small_run.SETTINGS)
    _matches(resumed, str(refusal.value))


def _matches(words: str, said: str) -> None:
    assert re.search(words, said, re.DOTALL), said
    assert said.rstrip().endswith("."), "no remedy"


def test_fault_97_the_newest_log_is_that_of_the_largest_number(tmp_path: Path) -> None:
    for name in ("attempt-2.log", "attempt-10.log", "attempt-10 (copy).log", "attempt-.log"):
        (tmp_path / name).write_text(f"{attempt_log.FAILED}{name}\n")
    assert sorted(number for number, _ in attempt_log.numbered(tmp_path)) == [2, 10]
    assert "attempt-10.log" in str(attempt_log.last_failure(tmp_path))
    os.unlink(tmp_path / "attempt-10.log")
    (tmp_path / "attempt-10.log").mkdir()
    assert "attempt-2.log" in str(attempt_log.last_failure(tmp_path))
