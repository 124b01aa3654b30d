"""Bad input ends with one clear message and the right code, never with a traceback."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.conftest import ROOT, Ended

Dualipo = Callable[..., Ended]


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    path = tmp_path / "recipe.toml"
    path.write_text("[align]\nbeta_dpo = 500.0\n")
    return path


def test_help_names_every_verb(dualipo: Dualipo) -> None:
    ended = dualipo("--help")
    assert ended.returncode == 0
    stages = "sample judge prefer align evaluate refresh"
    verbs = f"run status report label study {stages} doctor import export convert pretrain"
    assert all(f"\n    {verb} " in ended.stdout for verb in verbs.split())


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["run", "nowhere.toml"], "nowhere.toml: no such recipe. See `ls recipes/`."),
        (["run", "."], ".: Is a directory. Name a TOML file."),
        (["run", "recipe.toml", "align.beta_dop=3"], "Did you mean `align.beta_dpo`?"),
        (["run", "recipe.toml", "align.beta_dpo=-3"], "align.beta_dpo: Input should be greater"),
        (["run", "recipe.toml", "align.beta_dpo"], "an override has the form group.key=value."),
        (["run", "recipe.toml", "seed.x=1", "--dry-run"], "seed: Input should be a valid integer"),
        (["status", "runs/none"], "runs/none: no run here"),
        (["report", "."], ".: no run here"),
        (["align", "runs/none", "--round", "1"], "runs/none: no run here"),
        (["convert", "none.pt"], "none.pt: no such file."),
        (["import", "trl", "x.csv", "--output", "."], "do not say who judged. Give --source"),
        (["import", "lift", "x.csv", "--output", "o"], "x.csv: No such file or directory."),
        (["export", "trl", ".", "out"], ".: no label set (it has no labels.json)."),
        (["run", "recipe.toml", "--dryrun"], "unrecognized arguments: --dryrun"),
        (["frobnicate"], "invalid choice: 'frobnicate'"),
        (["run"], "required: recipe"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_bad_input_is_explained(
    dualipo: Dualipo, recipe: Path, given: list[str], said: str
) -> None:
    ended = dualipo(*given)
    assert ended.returncode == 2
    assert said in ended.stderr
    assert "Traceback" not in ended.stderr and not ended.stdout
    assert sorted(recipe.parent.iterdir()) == [recipe]


def test_fault_10_the_command_line_stops_well_and_says_how_to_go_on(tmp_path: Path) -> None:
    command = ["pretrain", "vae", "--output", "made", "--work", "work"]
    process = subprocess.Popen(
        [sys.executable, "-m", "dualipo.cli.main", *command],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None and process.stderr.readline().startswith("start: vae")
    process.send_signal(signal.SIGTERM)
    said = process.communicate(timeout=60)[1]
    assert process.returncode == 128 + signal.SIGTERM
    assert "stopped by SIGTERM" in said and "Traceback" not in said
    assert said.endswith(f"  dualipo {' '.join(command)}\n")
    assert list((tmp_path / "work/vae").glob("step-*/manifest.json"))
