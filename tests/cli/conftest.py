"""The command line as a user meets it: a process, its output and its exit code."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
Ended = subprocess.CompletedProcess[str]


@pytest.fixture
def dualipo(tmp_path: Path) -> Callable[..., Ended]:
    """Run `dualipo` in an empty folder."""

    def run(*arguments: str | Path, **environment: str) -> Ended:
        path = os.pathsep.join([environment.pop("PYTHONPATH", ""), str(ROOT)]).strip(os.pathsep)
        return subprocess.run(
            [sys.executable, "-m", "dualipo.cli.main", *map(str, arguments)],
            cwd=tmp_path,
            env={**os.environ, **environment, "PYTHONPATH": path},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    return run
