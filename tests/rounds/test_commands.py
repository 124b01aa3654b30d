"""Single stages by hand make what the loop makes."""

from pathlib import Path

from dualipo.progress import PlainProgress
from dualipo.rounds.commands import run_stage
from dualipo.stages import COMMANDS, Command
from tests.rounds import harness as harnesses
from tests.rounds.harness import Harness

ATTEMPT: list[Command] = ["judge", "prefer", "align", "evaluate"]
STAGES: list[Command] = ["sample", *ATTEMPT, "refresh", *ATTEMPT, "sample", *ATTEMPT, "refresh"]


def stage(path: Path, name: Command, round_: int | None = None) -> int:
    progress = PlainProgress()
    return harnesses.in_child(lambda: run_stage(path, name, round_, progress), path=path)


def test_stages_one_by_one_make_the_loop_s_run(harness: Harness) -> None:
    with harnesses.elsewhere(harness) as path:
        begin(harness, path)
        for name in STAGES:
            assert stage(path, name) == 0, harnesses.log(path)
        assert harnesses.state(path) == harness.clean


def test_a_stage_names_the_one_that_is_missing(harness: Harness) -> None:
    with harnesses.elsewhere(harness) as path:
        begin(harness, path)
        assert stage(path, "align") == 1
        assert f"Run `dualipo prefer {path} --round 0` first" in harnesses.log(path)
        assert stage(path, "sample", 1) == 1
        assert f"Run `dualipo refresh {path} --round 0` first" in harnesses.log(path)


def test_a_finished_stage_does_nothing(harness: Harness) -> None:
    before = harness.clean
    for name in COMMANDS:
        assert stage(harness.path, name) == 0, harnesses.log(harness.path)
    assert harness.clean == before


def begin(harness: Harness, path: Path) -> None:
    """Make a run folder that holds its configuration and nothing else."""
    hit = harness.point("config.json.after_rename")
    harnesses.ended(harness.recipe(path), fail=f"kill@{hit}")


def test_stage_by_stage_a_run_ends_early_as_the_loop_does(harness: Harness) -> None:
    never = ("refresh.stop_early=true", "refresh.stop_win_rate=1", "refresh.force_rounds=[]")
    with harnesses.elsewhere(harness) as looped, harnesses.elsewhere(harness) as path:
        assert harnesses.ended(harness.recipe(looped, *never)) == 0, harnesses.log(looped)
        hit = harness.point("config.json.after_rename")
        harnesses.ended(harness.recipe(path, *never), fail=f"kill@{hit}")
        for name in COMMANDS:
            assert stage(path, name) == 0, harnesses.log(path)
        assert harnesses.state(path) == harnesses.state(looped)
        for folder in (path, looped):
            assert "1 of 2 rounds (it stopped early)" in (folder / "report.html").read_text()
        assert stage(path, "refresh") == 0, "the round under way is still the last one"
        assert stage(path, "sample", 1) == 1
        assert "the run ended early with round 0" in harnesses.log(path)
        assert harnesses.state(path) == harnesses.state(looped)
