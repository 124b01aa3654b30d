"""`dualipo run --dry-run` and the verbs of single stages."""

import shutil
from pathlib import Path
from typing import Any

import pytest

from dualipo import config
from dualipo.cli import run, stage, weights
from dualipo.cli.main import main
from dualipo.errors import RunLocked
from dualipo.stages import COMMANDS
from dualipo.store import atomic
from dualipo.store.lock import Lock
from dualipo.store.rundir import RunDir
from tests import odd_folders

# Of the embedded generator: parameters, the latent's shape, and 48 pairs x 2 sides x 8 slots.
FIGURES = (
    "generator: 3.33 million parameters",
    "latent 24x9x4x4",
    "memory of the device, aligning: ",
    "reference errors of an alignment at most 1.54 kB",
    "time, at least: ",
)


@pytest.mark.slow
def test_a_dry_run_shows_settings_and_plan_and_touches_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = tmp_path / "recipe.toml"
    recipe.write_text("rounds = 2\n[align]\nmax_train_steps = 30\n")
    assert main(["run", str(recipe), "--dry-run", "align.beta-dpo=300"]) == 0
    shown = capsys.readouterr()
    assert not shown.err
    lines = shown.out.splitlines()
    assert "* align.beta_dpo = 300.0  (default: 500.0)" in lines
    assert "* rounds = 2  (default: 3)" in lines and "  align.beta_kto = 1000.0" in lines
    assert lines[0].startswith("settings (* marks what differs from the default;")
    assert "  align: 60" in lines  # of both rounds
    estimate = "\n".join(lines[lines.index("estimate:") :])
    assert all(figure in estimate for figure in FIGURES)
    assert sorted(tmp_path.iterdir()) == [recipe]


def test_a_run_says_what_it_will_need_before_it_begins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def ends(*_: Any, **__: Any) -> None:
        raise InterruptedError

    monkeypatch.setattr("dualipo.rounds.loop.run", ends)
    with pytest.raises(InterruptedError):
        run._run(config.Config(output_dir=str(tmp_path)))
    said = capsys.readouterr().out
    assert all(figure in said for figure in FIGURES)


def test_fault_45_a_run_of_a_busy_folder_is_refused_before_anything_is_looked_at(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lock = Lock.acquire(tmp_path / "LOCK")
    generator = {"pretrained_model_name_or_path": "no such folder"}
    settings = {"output_dir": str(tmp_path), "generator": generator}
    with pytest.raises(RunLocked):
        run._run(config.resolve(settings, subject="test"))
    lock.release()
    assert not capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.parametrize("command", [("run", "--dry-run"), ("run",), ("doctor",)])
def test_fault_68_odd_model_folders_are_told_before_anything_is_made(
    command: tuple[str, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Break parts of both models: every command that begins work names all of them at once."""
    for part in ("generator", "critic"):
        shutil.copytree(weights.FOLDER / part, tmp_path / part)
    (tmp_path / "generator/tokenizer/tokenizer.json").unlink()
    odd_folders.edited("generator/scheduler/scheduler_config.json", use_flow_sigmas=False)(tmp_path)
    odd_folders.torn("critic/llm/model.safetensors")(tmp_path)
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(
        f'output_dir = "{tmp_path / "run"}"\n'
        f'[generator]\npretrained_model_name_or_path = "{tmp_path / "generator"}"\n'
        f'[critic]\npretrained_model_name_or_path = "{tmp_path / "critic"}"\n'
    )
    verb, *options = command
    assert main([verb, str(recipe), *options]) == 2
    told = capsys.readouterr().err
    assert "tokenizer: no vocabulary" in told and "where Wan predicts a flow" in told
    assert "llm/model.safetensors: not whole safetensors" in told and "Traceback" not in told
    assert not (tmp_path / "run").exists()


def test_every_stage_has_its_verb() -> None:
    assert tuple(stage.STAGES) == COMMANDS


def test_a_fork_says_how_to_go_on_and_a_folder_without_a_run_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = config.Config(output_dir=str(tmp_path / "a"), rounds=0)
    RunDir.open(tmp_path / "a", settings).close()
    folders = [f"{tmp_path / name}" for name in "abc"]
    assert main(["fork", *folders[:2], "rounds=2", "align.beta-dpo=300"]) == 0
    assert f"dualipo resume {folders[1]}" in capsys.readouterr().out
    changed = atomic.read_json(tmp_path / "b" / "config.json")
    assert (changed["rounds"], changed["align.beta_dpo"]) == (2, 300.0)
    assert changed["output_dir"] == str(tmp_path / "b")
    assert main(["resume", folders[2]]) == 2
    assert "no run here" in capsys.readouterr().err
