"""A setting may change until a stage has read it; what read it can be thrown away or forked."""

import shutil
import signal
from pathlib import Path

import pytest

from dualipo.cli.main import main
from dualipo.config import Config, leaves
from dualipo.config.uses import USES, use_of
from dualipo.errors import ConfigError
from dualipo.evaluation import summary
from dualipo.events import AlignEvent, EndedEvent, SettingsEvent
from dualipo.stages import ON_DEMAND, REDOABLE, STAGES, Redo
from dualipo.store import redo
from dualipo.store.fork import fork
from dualipo.store.ledger import Unit
from tests.rounds import harness as harnesses
from tests.rounds.harness import Harness, State

BETA = "align.beta_dpo=7"


def weights_of(state: State) -> State:
    """Return the hashes of files, without the ledger's, which records that a setting changed."""
    return {name: value for name, value in state.items() if name != "ledger"}


@pytest.fixture(scope="module")
def other(harness: Harness) -> State:
    """Run with another beta from the beginning."""
    with harnesses.elsewhere(harness) as path:
        assert harnesses.ended(harness.recipe(path, BETA)) == 0, harnesses.log(path)
        return harnesses.state(path)


def test_every_row_names_settings_and_stages_that_there_are() -> None:
    known, stages = leaves(Config()), {stage.stage_id for stage in STAGES}
    for row, use in USES.items():
        assert any(key == row or (row[-1] == "." and key.startswith(row)) for key in known), row
        assert {s for s in use.stages if s.split(".")[0] not in ON_DEMAND} <= stages, row
    assert use_of("rounds") is None and use_of("align.checkpointing_steps") is None
    assert use_of("critic.server.base_url") is None
    start = use_of("generator.height")
    assert start is not None and start.stages == ("register",)


def test_fault_47_a_setting_may_change_until_it_is_read(harness: Harness, other: State) -> None:
    with harnesses.elsewhere(harness) as path:
        hit = harness.point("preferences.parquet.before_rename")
        assert harnesses.ended(harness.recipe(path), fail=f"kill@{hit}") == -signal.SIGKILL
        assert harnesses.ended(harness.recipe(path, "generator.num_inference_steps=3")) == 1
        said = harnesses.log(path)
        assert "num_inference_steps: 2 -> 3 (read by the stage register)" in said
        assert harnesses.ended(harness.recipe(path, BETA)) == 0, harnesses.log(path)
        assert weights_of(harnesses.state(path)) == weights_of(other)
        (changed,) = harnesses.events(path, SettingsEvent)
        assert (changed.from_round, changed.before) == (0, {"align.beta_dpo": 500.0})


def test_a_stage_under_way_is_redone_with_other_settings(harness: Harness, other: State) -> None:
    with harnesses.elsewhere(harness) as path:
        hit = harness.point("transformer.before_rename")
        assert harnesses.ended(harness.recipe(path), fail=f"kill@{hit}") == -signal.SIGKILL
        assert harnesses.ended(harness.recipe(path, BETA)) == 1
        said = harnesses.log(path)
        assert "align.beta_dpo: 500.0 -> 7.0 (read by the stage align)" in said
        assert "`--redo align`, which throws away" in said
        assert harnesses.ended(harness.recipe(path, BETA), again="align") == 0, harnesses.log(path)
        assert weights_of(harnesses.state(path)) == weights_of(other)


@pytest.mark.parametrize("word", [word for word in REDOABLE if word != "warm-start"])
def test_what_is_redone_unchanged_comes_out_the_same(keeping: Harness, word: Redo) -> None:
    with harnesses.elsewhere(keeping) as path:
        shutil.copytree(keeping.path, path)
        assert _typed(path, "resume", path, "--redo", word) == 0, harnesses.log(path)
        assert harnesses.state(path) == keeping.clean
        assert "throws away" in harnesses.log(path)


def test_the_warm_start_is_redone_on_the_command_line(harness: Harness) -> None:
    with harnesses.elsewhere(harness) as path:
        assert harnesses.ended(harness.recipe(path, "rounds=0")) == 0, harnesses.log(path)
        before = harnesses.state(path)
        again = ("--redo", "warm-start")
        assert _typed(path, "resume", path, *again) == 0, harnesses.log(path)
        assert "throws away" in harnesses.log(path) and harnesses.state(path) == before
        changed = "warm_start_sft.max_train_steps=1"
        assert _typed(path, "resume", path, changed) == 2
        assert "`--redo warm-start`" in harnesses.log(path)
        assert _typed(path, "resume", path, *again, changed) == 0, harnesses.log(path)
        after = harnesses.state(path)
    critics = [
        name for name in before if name.endswith("warm_start_sft/model/llm/model.safetensors")
    ]
    assert critics and all(before[name] != after.get(name) for name in critics)
    assert all(after[name] == before[name] for name in before if name.startswith("clips/"))


def test_a_redo_may_be_killed_anywhere(keeping: Harness) -> None:
    for hit in (1, 2, 3, 9):
        with harnesses.elsewhere(keeping) as path:
            shutil.copytree(keeping.path, path)
            code = harnesses.ended(keeping.recipe(path), again="align", fail=f"kill@{hit}")
            assert code == -signal.SIGKILL
            assert harnesses.ended(keeping.recipe(path)) == 0, harnesses.log(path)
            assert harnesses.state(path) == keeping.clean


@pytest.mark.parametrize(("round_", "stage"), [(0, "align"), (1, "prefer")])
def test_a_fork_from_a_stage_shares_what_came_before(
    keeping: Harness, round_: int, stage: Redo
) -> None:
    with harnesses.elsewhere(keeping) as path:
        place = ("--from-round", f"{round_}", "--stage", stage)
        assert _typed(path, "fork", keeping.path, path, *place) == 0, harnesses.log(path)
        assert f"Go on with `dualipo resume {path}`" in harnesses.log(path)
        assert _typed(path, "resume", path) == 0, harnesses.log(path)
        assert harnesses.state(path) == keeping.clean
    assert harnesses.state(keeping.path) == keeping.clean


def test_a_fork_trains_again_on_preferences_that_are_there(keeping: Harness, other: State) -> None:
    with harnesses.elsewhere(keeping) as path:
        with pytest.raises(ConfigError, match=r"read by the stage register") as refused:
            changed = keeping.recipe(path, "generator.num_inference_steps=3")
            fork(keeping.path, path, changed, from_round=0, stage="align")
        assert str(keeping.path) in str(refused.value) and not path.exists()
        fork(keeping.path, path, keeping.recipe(path, BETA), from_round=0, stage="align")
        with harnesses.ledger_of(path) as ledger:
            assert ledger.votes(0, 1, "point") and not ledger.votes(1, 0, "point")
        assert harnesses.ended(keeping.recipe(path, BETA)) == 0, harnesses.log(path)
        made = harnesses.state(path)
    # In the first attempt of round 0 the fork had the old beta: what it made is shared.
    last = [name for name in weights_of(other) if name.startswith("rounds/001")]
    assert last and keeping.clean.keys() >= {*last}
    assert all((made[name] == other[name]) for name in last if "generator" in name)


def test_latents_that_are_gone_cannot_be_aligned_anew(harness: Harness, tmp_path: Path) -> None:
    with (
        harnesses.ledger_of(harness.path) as ledger,
        pytest.raises(ConfigError, match=r"generator\.keep_latents was false"),
    ):
        redo.plan(harness.path, ledger, "align")


def test_a_run_that_has_done_nothing_takes_any_setting(harness: Harness) -> None:
    with harnesses.elsewhere(harness) as path:
        hit = harness.point("config.json.after_rename")
        assert harnesses.ended(harness.recipe(path, "seed=77"), fail=f"kill@{hit}") < 0
        assert harnesses.ended(harness.recipe(path)) == 0, harnesses.log(path)
        assert harnesses.state(path) == harness.clean


def test_a_round_without_a_preference_ends_the_run_and_goes_on_when_it_is_redone(
    harness: Harness,
) -> None:
    few = ("rounds=1", "prompts.num_prompts=2", "refresh.force_rounds=[]")
    strict = ("critic.confirm_vote_share=1", "critic.dimension_slack=0")
    with harnesses.elsewhere(harness) as path:
        for seed in range(harnesses.MAX_SEEDS):  # the critic flips coins
            shutil.rmtree(path, ignore_errors=True)
            own = (*few, f"seed={seed}")
            assert harnesses.ended(harness.recipe(path, *own, *strict)) == 0, harnesses.log(path)
            if not harnesses.events(path, EndedEvent):
                continue
            said, status = harnesses.log(path), summary.table(path)
            before = {unit for unit in _units(path) if unit.stage in ("sample.candidates", "score")}
            mended = harness.recipe(path, *own)
            assert harnesses.ended(mended) == 1 and "`--redo judge`" in harnesses.log(path)
            assert harnesses.ended(mended, again="judge") == 0, harnesses.log(path)
            if harnesses.events(path, AlignEvent):
                break
        assert "the run ends in round 0: no preference was kept (dropped: " in said
        assert "The generator base serves" in said and "`--redo prefer`" in said
        assert "ended: no preference was kept" in status
        assert not harnesses.events(path, EndedEvent) and before <= {*_units(path)}


def _typed(path: Path, *words: str | Path) -> int:
    """Run a command in a child, which logs beside `path`; return its exit code."""

    def body() -> None:
        if code := main([*map(str, words)]):
            raise SystemExit(code)

    return harnesses.in_child(body, path=path)


def _units(path: Path) -> list[Unit]:
    with harnesses.ledger_of(path) as ledger:
        return ledger.units()
