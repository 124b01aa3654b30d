"""The whole loop of `recipes/smoke.toml` on a GPU, as a user starts it."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.rounds import harness

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
@pytest.mark.cuda
def test_the_smoke_recipe_runs_whole_on_a_gpu(tmp_path: Path) -> None:
    path = tmp_path / "smoke"

    def dualipo(*arguments: str | Path) -> str:
        command = [sys.executable, "-m", "dualipo.cli.main", *map(str, arguments)]
        ended = subprocess.run(
            command, cwd=ROOT, capture_output=True, text=True, timeout=900, check=False
        )
        assert ended.returncode == 0, ended.stdout + ended.stderr
        return ended.stdout

    estimate = dualipo("run", ROOT / "recipes" / "smoke.toml", f"output_dir={path}")
    assert "on this CPU" not in estimate
    assert (path / "report.html").is_file()
    assert harness.outcome(path)  # the recipe forces a refresh, however that ends
    state = harness.state(path)
    dualipo("resume", path)
    assert harness.state(path) == state  # nothing was left to do
