"""Workers that die, hang, fail and refuse, as processes of this machine (FAULTS.md 42, 43)."""

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from dualipo.errors import DataError, StageError
from dualipo.store import worker_rows
from dualipo.workers import processes
from dualipo.workers.crew import Died, Ready, Refused
from dualipo.workers.dispatch import CrewEngine
from dualipo.workers.inline import InlineEngine
from dualipo.workers.processes import ProcessCrew
from dualipo.workers.roster import Roster
from dualipo.workers.worker import Token
from tests.workers import sums

SUMS = {f"sum {n}": 100 + n + n + 1 for n in range(8)}


@contextmanager
def engine(folder: Path, *, num: int = 2, unit_timeout: float = 60.0) -> Iterator[CrewEngine]:
    started = CrewEngine(
        lambda: crew(folder, num),
        unit_timeout=unit_timeout,
        max_failures=3,
        roster=Roster(folder),
    )
    yield started
    started.close()


def crew(folder: Path, num: int) -> ProcessCrew:
    token = Token(folder / "LOCK", b"the driver")
    token.path.write_bytes(token.content)
    return ProcessCrew([{}] * num, token=token, log_folder=folder)


def done(started: CrewEngine, folder: Path, fates: dict[int, str]) -> dict[str, int]:
    works = sums.works(folder, fates)
    return {each.work.name: each.row for each in started.run(sums.job(), works)}


def test_fault_42_a_unit_of_a_dead_or_stopped_worker_is_done_by_another(tmp_path: Path) -> None:
    inline = InlineEngine(100).run(sums.job(), sums.works(tmp_path, {}))
    assert {each.work.name: each.row for each in inline} == SUMS
    with engine(tmp_path, unit_timeout=3.0) as started:
        assert done(started, tmp_path, {1: "kills once", 4: "stops once"}) == SUMS
        rows = worker_rows.read(tmp_path)
        assert done(started, tmp_path, {}) == SUMS  # the next job, on the same workers
    assert sum(row.num_failures for row in rows) <= 2
    ended = worker_rows.read(tmp_path)
    assert sum(row.num_done for row in ended) == 2 * len(SUMS)
    assert sum(row.num_failures for row in ended) == 2
    assert not any(row.is_alive for row in ended)


def test_fault_43_a_unit_that_always_fails_is_named_after_all_others_are_done(
    tmp_path: Path,
) -> None:
    with engine(tmp_path) as started:
        seen: dict[str, int] = {}
        with pytest.raises(StageError) as told:
            for each in started.run(
                sums.job(), sums.works(tmp_path, {0: "always fails", 5: "always kills"})
            ):
                seen[each.work.name] = each.row
    assert seen == {name: row for name, row in SUMS.items() if name not in ("sum 0", "sum 5")}
    assert "2 units failed 3 times" in str(told.value)
    assert "sum 0 (0, 1)" in str(told.value) and "cannot be added" in str(told.value)
    assert "sum 5 (5, 6)" in str(told.value) and "SIGKILL" in str(told.value)


def test_fault_42_a_worker_that_does_not_rest_is_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "REST_SECONDS", 1.0)
    others = psutil.Process().children()
    with engine(tmp_path, num=1) as started:
        assert done(started, tmp_path, {}) == SUMS
        [worker] = set(psutil.Process().children()).difference(others)
        worker.suspend()
        started.rest()
        assert done(started, tmp_path, {}) == SUMS
        assert not psutil.pid_exists(worker.pid)


def test_fault_42_a_worker_that_never_begins_is_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    others = psutil.Process().children()
    started = crew(tmp_path, 1)
    [worker] = set(psutil.Process().children()).difference(others)
    worker.suspend()
    monkeypatch.setattr(processes, "START_SECONDS", 0.0)
    while not (told := started.poll(1.0)):
        pass
    monkeypatch.undo()
    assert isinstance(told[0], Died) and "SIGKILL" in told[0].reason
    while not (told := started.poll(1.0)):
        pass
    assert isinstance(told[0], Ready)
    started.close()


def test_a_refusal_ends_the_job_as_it_would_without_workers(tmp_path: Path) -> None:
    with engine(tmp_path, num=1) as started, pytest.raises(DataError, match="none of them is even"):
        done(started, tmp_path, {2: "refuses"})


def test_a_worker_that_does_not_see_the_drivers_files_says_so_at_once(tmp_path: Path) -> None:
    started = crew(tmp_path, 1)
    (tmp_path / "LOCK").write_bytes(b"another driver, or a folder of the same name")
    while not (told := started.poll(1.0)):
        pass
    started.close()
    assert isinstance(told[0], Refused) and "every node mounts" in str(told[0].refusal)


def test_workers_end_when_their_driver_is_killed(tmp_path: Path) -> None:
    script = (
        "from pathlib import Path\n"
        "from tests.workers import sums\n"
        "from tests.workers.test_processes import done, engine\n"
        f"folder = Path({str(tmp_path)!r})\n"
        "with engine(folder, num=1) as started:\n"
        "    done(started, folder, {0: 'is slow'})\n"
    )
    driver = subprocess.Popen([sys.executable, "-c", script])
    deadline = time.monotonic() + 120
    while not (tmp_path / "0-1").exists() and time.monotonic() < deadline:
        time.sleep(0.1)
    [worker] = psutil.Process(driver.pid).children()
    driver.kill()
    driver.wait()
    assert psutil.wait_procs([worker], timeout=60)[1] == [], "a worker outlived its driver"
