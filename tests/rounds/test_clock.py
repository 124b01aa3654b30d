"""The wall clock may jump: no duration, no order and no decision is made of it."""

import ast
import time
from pathlib import Path

import pytest

from dualipo.progress import Pace
from dualipo.rounds.clock import Clock
from tests.test_shell import PACKAGE

# These tell people when something was; nothing reads it again to decide.
TELLERS = {
    "attempt_log.py",
    "evaluation/share/trackers.py",
    "rounds/clock.py",
    "rounds/work_metrics.py",
    "store/lock.py",
    "store/worker_rows.py",
}
WALL_CLOCKS = ("time.time", "time.time_ns", "datetime.now", "datetime.utcnow", "datetime.today")


def test_fault_59_a_clock_that_jumps_moves_no_duration(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    for jump in (-(10**9), 10**9):
        now = time.time()
        with monkeypatch.context() as patched:
            patched.setattr(time, "time", lambda now=now, jump=jump: now + jump)
            assert 0 <= clock.read("align").seconds < 600
            pace = Pace()
            pace.plan({"align": 2})
            assert pace._clock is time.monotonic


def test_fault_59_the_wall_clock_is_read_only_to_be_shown() -> None:
    readers = set()
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Attribute) and ast.unparse(node).endswith(WALL_CLOCKS):
                readers.add(str(Path(path).relative_to(PACKAGE)))
    assert readers == TELLERS
