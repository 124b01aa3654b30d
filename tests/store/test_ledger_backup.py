"""A run never begins anew because its ledger was lost, and its newest backup brings it back."""

import json
import shutil
import sqlite3
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from dualipo.config import Config, resolve
from dualipo.errors import ConfigError, DataError
from dualipo.store import atomic, ledger_backup
from dualipo.store.ledger import Ledger, Unit
from dualipo.store.run_reader import RunReader
from dualipo.store.rundir import RunDir
from tests.store import small_run

UNITS = 4  # of the small run


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a closed run with a backup before round 1, and a unit and a file of round 1."""
    run = small_run.make(tmp_path / "run")
    run.back_up(1)
    later = run.round_path(1) / "prompts.parquet"
    atomic.write_text(later, "later")
    files = {run.relative(later): atomic.sha256_file(later)}
    run.ledger.commit_unit(Unit(1, 0, "prompts"), files=files)
    run.close()
    return run.path


def contents(folder: Path) -> dict[str, bytes]:
    """Return every file but the log of the attempts."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def lose(folder: Path) -> None:
    for path in folder.glob("ledger.sqlite*"):
        path.unlink()


def empty(folder: Path) -> None:
    (folder / "ledger.sqlite").write_bytes(b"")


def lose_tables(folder: Path) -> None:
    """Leave what is in the file before a first checkpoint folds the log into it."""
    lose(folder)
    with sqlite3.connect(folder / "ledger.sqlite") as connection:
        connection.execute("PRAGMA journal_mode = WAL")
    connection.close()


def go_back(folder: Path) -> None:
    """Leave an older state of the ledger, as where only its log was lost."""
    lose(folder)
    (folder / "older").mkdir()
    ledger = Ledger(folder / "older" / "ledger.sqlite")
    ledger.commit_unit(Unit(-1, 0, "prompts"))
    ledger.close()
    shutil.move(folder / "older" / "ledger.sqlite", folder / "ledger.sqlite")
    shutil.rmtree(folder / "older")


def garble(folder: Path) -> None:
    (folder / "ledger.sqlite").write_bytes(b"SQLite format 3\0" + bytes(range(256)) * 40)


@pytest.mark.parametrize("damage", [lose, empty, lose_tables, go_back, garble])
def test_fault_90_without_its_whole_ledger_a_run_is_refused_untouched_until_it_is_restored(
    folder: Path, damage: Callable[[Path], None]
) -> None:
    damage(folder)
    before = contents(folder)
    with pytest.raises(DataError, match=r"ledger\.sqlite: .*newest backup") as refused:
        RunDir.open(folder, small_run.SETTINGS)
    assert contents(folder) == before
    command = str(refused.value).split("`")[1]
    subprocess.run(command, shell=True, check=True)
    run = RunDir.open(folder, small_run.SETTINGS)
    assert run.ledger.is_restored and len(run.ledger.units()) == UNITS
    assert run.sweep() == ["rounds/001/prompts.parquet"]
    run.close()
    again = RunDir.open(folder, small_run.SETTINGS)
    assert not again.ledger.is_restored and again.sweep() == []
    again.close()


def test_fault_90_without_a_backup_the_refusal_says_so(folder: Path) -> None:
    shutil.rmtree(folder / ledger_backup.FOLDER)
    lose(folder)
    with pytest.raises(DataError, match="no backup in this folder"):
        RunDir.open(folder, small_run.SETTINGS)


def test_fault_90_a_run_of_an_older_dualipo_is_refused_by_its_files(folder: Path) -> None:
    (folder / ledger_backup.COUNT).unlink()
    RunDir.open(folder, small_run.SETTINGS).close()
    for damage in (lose, empty, lose_tables):
        damage(folder)
        (folder / ledger_backup.COUNT).unlink(missing_ok=True)
        with pytest.raises(DataError, match="missing or empty"):
            RunDir.open(folder, small_run.SETTINGS)


def test_the_newest_two_backups_are_kept_and_each_is_made_once(folder: Path) -> None:
    run = RunDir.open(folder, small_run.SETTINGS)
    for round in (2, 3):
        run.back_up(round)
    made = {path: path.stat().st_mtime_ns for path in (folder / "backups").iterdir()}
    assert sorted(path.name for path in made) == [
        "before-round-002.sqlite",
        "before-round-003.sqlite",
    ]
    run.back_up(3)
    assert {path: path.stat().st_mtime_ns for path in (folder / "backups").iterdir()} == made
    run.close()


@pytest.mark.parametrize("content", [None, "{", "[]"])
def test_fault_92_settings_live_in_the_ledger_so_a_lost_file_mixes_nothing(
    folder: Path, content: str | None
) -> None:
    path = folder / "config.json"
    written = json.loads(path.read_text())
    path.unlink() if content is None else path.write_text(content)
    with pytest.raises(ConfigError, match="settings were changed that it has used already"):
        RunDir.open(folder, Config())
    RunDir.open(folder, small_run.SETTINGS).close()
    assert json.loads(path.read_text()) == written


def test_settings_are_read_without_their_file(folder: Path) -> None:
    before = RunReader(folder).settings
    (folder / "config.json").unlink()
    assert RunReader(folder).settings == before


def test_an_older_run_without_settings_anywhere_is_refused(folder: Path) -> None:
    with sqlite3.connect(folder / "ledger.sqlite") as connection:
        connection.execute("DELETE FROM meta WHERE key = 'record.settings'")
    connection.close()
    RunDir.open(folder, small_run.SETTINGS).close()  # config.json tells them
    with sqlite3.connect(folder / "ledger.sqlite") as connection:
        connection.execute("DELETE FROM meta WHERE key = 'record.settings'")
    connection.close()
    (folder / "config.json").unlink()
    with pytest.raises(DataError, match="nobody knows which ones"):
        RunDir.open(folder, resolve({"seed": 8}, subject="test"))
