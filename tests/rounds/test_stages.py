"""Single stages by hand make what the loop makes."""

from pathlib import Path

from dualipo.progress import PlainProgress
from dualipo.rounds.stages import run_stage
from tests.rounds import harness as harnesses
from tests.rounds.harness import Harness

ATTEMPT = ["judge", "prefer", "align", "evaluate"]
STAGES = ["sample", *ATTEMPT, "refresh", *ATTEMPT, "sample", *ATTEMPT, "refresh"]


def stage(path: Path, name: str, round_: int | None = None) -> int:
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
    for name in ("sample", "judge", "prefer", "align", "evaluate", "refresh"):
        assert stage(harness.path, name) == 0, harnesses.log(harness.path)
    assert harness.clean == before


def begin(harness: Harness, path: Path) -> None:
    """A run directory, left as soon as its configuration stands in it."""
    hit = harness.point("config.json.after_rename")
    harnesses.ended(harness.recipe(path), fail=f"kill@{hit}")
