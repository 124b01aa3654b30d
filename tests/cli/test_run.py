"""`dualipo run --dry-run` and the verbs of single stages."""

from collections.abc import Callable
from pathlib import Path

from dualipo import config
from dualipo.cli import stage
from dualipo.rounds import stages
from dualipo.store import atomic
from dualipo.store.rundir import RunDir
from tests.cli.conftest import Ended


def test_a_dry_run_shows_settings_and_plan_and_touches_nothing(
    dualipo: Callable[..., Ended], tmp_path: Path
) -> None:
    recipe = tmp_path / "recipe.toml"
    recipe.write_text("rounds = 2\n[align]\nmax_train_steps = 30\n")
    ended = dualipo("run", recipe, "--dry-run", "align.beta-dpo=300")
    assert ended.returncode == 0 and not ended.stderr
    lines = ended.stdout.splitlines()
    assert "align.beta_dpo = 300.0" in lines and "rounds = 2" in lines
    assert "  align: 60" in lines  # of both rounds
    assert sorted(tmp_path.iterdir()) == [recipe]


def test_every_stage_has_its_verb() -> None:
    assert stage.STAGES.keys() == stages.STAGES.keys()


def test_a_fork_says_how_to_go_on_and_a_folder_without_a_run_is_refused(
    dualipo: Callable[..., Ended], tmp_path: Path
) -> None:
    settings = config.Config(output_dir=str(tmp_path / "a"), rounds=0)
    RunDir.open(tmp_path / "a", settings).close()
    ended = dualipo("fork", tmp_path / "a", tmp_path / "b", "rounds=2", "align.beta-dpo=300")
    assert ended.returncode == 0 and f"dualipo resume {tmp_path / 'b'}" in ended.stdout
    changed = atomic.read_json(tmp_path / "b" / "config.json")
    assert (changed["rounds"], changed["align.beta_dpo"]) == (2, 300.0)
    assert changed["output_dir"] == str(tmp_path / "b")
    ended = dualipo("resume", tmp_path / "c")
    assert ended.returncode == 2 and "no run here" in ended.stderr
