"""The failpoints: every instruction does what FAULTS.md says, and unset they are idle."""

import errno
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from dualipo import failpoints

SIX_HITS = """
from dualipo import failpoints
for number in range(6):
    failpoints.hit(f"stage.{number}")
    print(number, flush=True)
"""


@pytest.fixture
def arm():
    yield failpoints.arm
    failpoints.arm("")


def run(instruction: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", SIX_HITS]
    environment = {"DUALIPO_FAIL": instruction}
    return subprocess.run(command, env=environment, capture_output=True, text=True)


def test_kill_ends_the_process_at_that_hit() -> None:
    killed = run("kill@3")
    assert killed.returncode == -signal.SIGKILL and killed.stdout == "0\n1\n"
    assert run("kill@7").returncode == 0 and run("").stdout.count("\n") == 6


def test_count_names_every_hit(tmp_path: Path) -> None:
    names = tmp_path / "names"
    assert run(f"count@{names}").returncode == 0
    assert names.read_text().split() == [f"stage.{number}" for number in range(6)]


@pytest.mark.parametrize(("mode", "code"), [("enospc", errno.ENOSPC), ("eio", errno.EIO)])
def test_errors_are_raised_once_and_arming_counts_anew(arm, mode: str, code: int) -> None:
    for _ in range(2):
        arm(f"{mode}@2")
        failpoints.hit("first")
        with pytest.raises(OSError) as raised:
            failpoints.hit("second")
        assert raised.value.errno == code and raised.value.filename == "second"
        failpoints.hit("third")
