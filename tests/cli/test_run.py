"""`dualipo run --dry-run` and the verbs of single stages."""

from collections.abc import Callable
from pathlib import Path

from dualipo.cli import stage
from dualipo.rounds import stages
from tests.cli.conftest import Ended


def test_a_dry_run_shows_settings_and_plan_and_touches_nothing(
    dualipo: Callable[..., Ended], tmp_path: Path
) -> None:
    recipe = tmp_path / "recipe.toml"
    recipe.write_text("rounds = 2\n[align]\nmax_train_steps = 30\n")
    ended = dualipo("run", recipe, "align.beta-dpo=300", "--dry-run")
    assert ended.returncode == 0 and not ended.stderr
    lines = ended.stdout.splitlines()
    assert "align.beta_dpo = 300.0" in lines and "rounds = 2" in lines
    assert "  align: 60" in lines  # of both rounds
    assert sorted(tmp_path.iterdir()) == [recipe]


def test_every_stage_has_its_verb() -> None:
    assert stage.STAGES.keys() == stages.STAGES.keys()
