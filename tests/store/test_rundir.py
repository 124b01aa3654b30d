"""The run directory: one process, one configuration, no garbage and no silent loss."""

import errno
import fcntl
import json
import os
import subprocess
import sys
import time
from io import FileIO
from pathlib import Path

import pytest

from dualipo.config import RETIRED, Config, resolve
from dualipo.errors import ConfigError, DataError, RunLocked, StorageError
from dualipo.store import lock
from dualipo.store.ledger import Unit
from dualipo.store.lock import Lock
from dualipo.store.rundir import RunDir, remove_checkpoints


@pytest.fixture
def run(tmp_path: Path):
    opened = RunDir.open(tmp_path / "run", Config())
    yield opened
    opened.close()


def test_a_run_is_created_and_resumed(tmp_path: Path) -> None:
    for attempt in (1, 2):
        run = RunDir.open(tmp_path / "run", Config())
        assert run.attempt == attempt and run.log_path.name == f"attempt-{attempt}.log"
        assert run.relative(run.attempt_path(1, 0)) == "rounds/001/attempt-0"
        run.close()
    assert not (tmp_path / "run" / "LOCK").exists()
    assert json.loads((tmp_path / "run" / "run.json").read_text())["kind"] == "dualipo run"
    assert json.loads((tmp_path / "run" / "config.json").read_text())["align.beta_dpo"] == 500.0


def test_fault_03_files_without_a_row_are_swept_and_rows_without_a_file_reported(
    run: RunDir,
) -> None:
    kept = ["clips/ab/1.mp4", "rounds/000/prompts.parquet"]
    training = "rounds/000/attempt-0/align/checkpoints/step-000001/state.json"
    swept = [
        "clips/cd/2.mp4",
        "latents/3.safetensors",
        "rounds/000/.tmp-12-folder/part",
        "rounds/000/attempt-0/align/checkpoints/.tmp-9-step-000002/state.json",
        "rounds/000/attempt-0/preferences.parquet",
    ]
    for name in (*kept, training, *swept):
        (run.path / name).parent.mkdir(parents=True, exist_ok=True)
        (run.path / name).write_text("content")
    run.ledger.commit_unit(Unit(0, 0, "sample"), files=dict.fromkeys(kept, "aa"))
    run.sweep_temporaries()
    left = [name for name in swept if ".tmp-" not in name]
    assert all((run.path / name).exists() for name in (*kept, training, *left))
    assert run.sweep() == sorted(left)
    assert all((run.path / name).exists() for name in (*kept, training))
    assert not (run.path / "clips" / "cd").exists() and run.sweep() == []
    remove_checkpoints((run.path / training).parents[1])
    (run.path / kept[1]).unlink()  # a clip would be made again
    with pytest.raises(DataError, match=r"prompts\.parquet: the ledger has it, the disk has not"):
        run.sweep()


HOLD = """
import pathlib, sys, time
from dualipo.config import Config
from dualipo.store.rundir import RunDir
run = RunDir.open(pathlib.Path(sys.argv[1]), Config())
print("held", flush=True)
sys.stdin.read()
run.close()
"""


def test_fault_45_a_second_process_is_refused_until_the_first_is_gone(tmp_path: Path) -> None:
    path = tmp_path / "run"
    command = [sys.executable, "-c", HOLD, str(path)]
    first = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert first.stdout is not None and first.stdout.readline() == "held\n"
    with pytest.raises(RunLocked, match=f"process {first.pid} on "):
        RunDir.open(path, Config())
    assert lock.is_held(path / "LOCK")
    first.kill()  # leaves its LOCK behind, and a zombie until it is waited for
    time.sleep(0.1)
    RunDir.open(path, Config()).close()
    first.communicate()


def test_fault_45_a_dead_owner_of_this_host_is_forgotten_and_one_of_another_host_is_not(
    run: RunDir,
) -> None:
    text, path = (run.path / "LOCK").read_text(), run.path / "LOCK"
    with pytest.raises(
        RunLocked, match=r"process \d+ on .* since 2\d\d\d-.*Wait for it or end it\."
    ):
        RunDir.open(run.path, Config())
    run.close()
    path.write_text(text)  # as after a kill
    assert not lock.is_held(path)
    RunDir.open(run.path, Config()).close()
    path.write_text(json.dumps(json.loads(text) | {"host": "elsewhere"}))
    assert lock.is_held(path)
    with pytest.raises(RunLocked, match=r"on elsewhere .*if that process is gone for sure, delete"):
        RunDir.open(run.path, Config())
    path.unlink()


SLURM, SKYPILOT = {"SLURM_JOB_ID": "7"}, {"SKYPILOT_TASK_ID": "sky-7"}


@pytest.mark.parametrize(
    ("first", "again", "others"),
    [
        (SLURM, SLURM | {"SLURM_RESTART_COUNT": "1"}, [{}, {"SLURM_JOB_ID": "8"}, SLURM]),
        (SKYPILOT, SKYPILOT, [{}, {"SKYPILOT_TASK_ID": "sky-8"}]),
    ],
)
def test_a_job_that_its_scheduler_starts_again_elsewhere_owns_what_it_had_locked(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    first: dict[str, str],
    again: dict[str, str],
    others: list[dict[str, str]],
) -> None:
    path = tmp_path / "LOCK"

    def acquire(job: dict[str, str]) -> Lock:
        with monkeypatch.context() as environment:
            for name, value in job.items():
                environment.setenv(name, value)
            return Lock.acquire(path)

    taken = acquire(first)
    left = json.loads(path.read_text()) | {"host": "a lost node"}
    taken.release()
    path.write_text(json.dumps(left))
    for other in others:  # no job, another one, or another node of the same start
        with pytest.raises(RunLocked, match="on a lost node"):
            acquire(other)
    acquire(again).release()


def test_a_deleted_lock_is_not_the_new_owner_s(tmp_path: Path) -> None:
    path = tmp_path / "LOCK"
    first = Lock.acquire(path)
    path.unlink()  # by a user who was sure
    second = Lock.acquire(path)
    first.release()
    assert lock.is_held(path)
    second.release()
    assert not lock.is_held(path) and not path.exists()


def test_a_lock_that_its_owner_deletes_meanwhile_is_taken_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, flock = tmp_path / "LOCK", fcntl.flock
    before: list[Lock] = [Lock.acquire(path)]

    def flock_after_release(file: FileIO, kind: int) -> None:
        while before:
            before.pop().release()
        flock(file, kind)

    monkeypatch.setattr(fcntl, "flock", flock_after_release)
    second = Lock.acquire(path)
    assert path.exists() and os.path.samestat(os.stat(path), os.fstat(second.file.fileno()))
    second.release()


def test_a_file_system_without_locks_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(file: FileIO, kind: int) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", refuse)
    with pytest.raises(StorageError, match=r"LOCK: No locks available\. Choose a folder"):
        Lock.acquire(tmp_path / "LOCK")


def test_fault_47_only_what_was_not_read_changes_on_resume(run: RunDir) -> None:
    run.ledger.commit_unit(Unit(0, 0, "align"))
    run.close()
    changed = resolve({"align": {"beta_dpo": 3000.0}, "seed": 1}, subject="test")
    with pytest.raises(ConfigError) as refused:
        RunDir.open(run.path, changed)
    message = str(refused.value)
    assert "align.beta_dpo: 500.0 -> 3000.0 (read by the stage align)" in message
    assert all(word in message for word in ("dualipo resume", "output_dir", "`--redo align`"))
    more = resolve({"rounds": 9, "output_dir": "elsewhere"}, subject="test")
    RunDir.open(run.path, more).close()
    assert json.loads((run.path / "config.json").read_text())["rounds"] == 9


def test_a_run_of_an_older_version_is_resumed_though_a_setting_is_retired(run: RunDir) -> None:
    run.close()
    path = run.path / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **RETIRED}))
    RunDir.open(run.path, Config()).close()
    assert not RETIRED.keys() & json.loads(path.read_text()).keys()


@pytest.mark.parametrize("group", ["critic.server", "seed_labels.rewriter"])
def test_fault_47_a_server_may_have_moved_but_not_become_another(run: RunDir, group: str) -> None:
    run.ledger.commit_unit(Unit(-1, 0, "rewrite"))
    run.close()
    moved = {
        "base_url": "http://127.0.0.1:9999/v1",
        "api_key_env": "OTHER_KEY",
        "timeout": 9.0,
        "max_retries": 0,
        "max_concurrency": 1,
    }
    part, name = group.split(".")
    RunDir.open(run.path, resolve({part: {name: moved}, "rounds": 2}, subject="test")).close()
    written = json.loads((run.path / "config.json").read_text())
    assert {written[f"{group}.{key}"] for key in moved} == {*moved.values()}
    another = resolve({"seed_labels": {"rewriter": {"model": "another"}}}, subject="test")
    with pytest.raises(ConfigError, match=r"seed_labels\.rewriter\.model: None -> 'another'"):
        RunDir.open(run.path, another)


def test_a_folder_in_use_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(ConfigError, match=r"not a dualipo run.*Resume.*output_dir.*delete"):
        RunDir.open(tmp_path, Config())
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_run_killed_while_it_was_created_can_be_resumed(tmp_path: Path) -> None:
    RunDir.open(tmp_path / "run", Config()).close()
    for left in ([], ["run.json"]):
        path = tmp_path / f"{len(left)}"
        path.mkdir()
        (path / "LOCK").write_text('{"pid":')
        for name in left:
            (path / name).write_bytes((tmp_path / "run" / name).read_bytes())
        RunDir.open(path, Config()).close()
        assert (path / "config.json").exists()


def test_fault_40_a_newer_run_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "run"
    RunDir.open(path, Config()).close()
    marker = json.loads((path / "run.json").read_text())
    (path / "run.json").write_text(json.dumps(marker | {"schema_version": 99}))
    before = {inner: inner.read_bytes() for inner in path.rglob("*") if inner.is_file()}
    with pytest.raises(DataError, match=r"schema version 99, this program knows 1.*newer dualipo"):
        RunDir.open(path, Config())
    assert {inner: inner.read_bytes() for inner in path.rglob("*") if inner.is_file()} == before


OPEN = """
import os, pathlib, sys
from dualipo.config import Config
from dualipo.errors import StorageError
from dualipo.store.rundir import RunDir
if os.getuid() == 0:
    os.setuid(65534)
try:
    RunDir.open(pathlib.Path(sys.argv[1]), Config())
except StorageError as error:
    print(error)
"""


def test_fault_16_a_run_in_a_read_only_folder_fails_before_any_work(tmp_path: Path) -> None:
    """Open a run where nothing can be written; models are loaded after that."""
    folder = tmp_path / "folder"
    folder.mkdir()
    for parent in (tmp_path, *tmp_path.parents[:2]):
        parent.chmod(0o755)  # another user must reach it
    folder.chmod(0o555)
    command = [sys.executable, "-c", OPEN, str(folder / "run")]
    code = Path(__file__).parents[2]
    ran = subprocess.run(command, capture_output=True, text=True, cwd=code)
    assert "Permission denied" in ran.stdout and "output_dir" in ran.stdout, ran.stderr
    assert list(folder.iterdir()) == []
