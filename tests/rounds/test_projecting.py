"""A projection: stages grow with what they depend on, and a run that cannot tell is refused."""

from pathlib import Path
from typing import Any

import pytest

from dualipo import config
from dualipo.config import Config
from dualipo.errors import ConfigError
from dualipo.event_parts import Signals
from dualipo.events import ClockEvent, EndedEvent, MonitorEvent, RefreshEvent, SampleEvent
from dualipo.rounds import projecting
from dualipo.rounds.bill import Devices
from dualipo.store.ledger import Unit
from dualipo.store.rundir import RunDir
from dualipo.tracking import Metrics

SECONDS = {"sample.candidates": 40.0, "score": 10.0, "confirm": 6.0, "align": 30.0, "monitor": 1.0}


def recipe(**changes: Any) -> Config:
    tree = {"rounds": 1, "prompts": {"num_prompts": 10}, "align": {"max_train_steps": 5}}
    return config.resolve(tree | changes, subject="test")


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """Make a run of one round that took `SECONDS`; its five steps took 4 s each."""
    opened = RunDir.open(tmp_path / "small", recipe())
    sft = ClockEvent(stage="warm_start_sft", seconds=100.0, peak_mb=1.0)
    opened.ledger.commit_unit(Unit(-1, 0, "warm_start_sft"), events=[sft])
    for stage, seconds in SECONDS.items():
        clock = ClockEvent(stage=stage, seconds=seconds, peak_mb=1.0)
        opened.ledger.commit_unit(Unit(0, 0, stage), events=[clock])
    with Metrics(opened.metrics_path) as metrics:
        for step, seconds in enumerate([14.0, 4.0, 4.0, 4.0, 4.0]):
            metrics.log(step, stage="align", round=0, attempt=0, seconds=seconds)
    opened.close()
    return tmp_path / "small"


def finish(run: Path) -> None:
    opened = RunDir.open(run, recipe())
    sampled = SampleEvent(num_clips=8, num_rejected=0, num_resampled=0, num_prompts_dropped=0)
    monitored = MonitorEvent(signals=Signals(), triggers=[], stop=[], winner_gap=None)
    kept = RefreshEvent(outcome="not needed", why=[], critic_version="warm")
    opened.ledger.commit_unit(Unit(0, 0, "closed"), events=[monitored, kept, sampled])
    opened.close()


def test_stages_grow_with_what_they_depend_on(run: Path) -> None:
    with pytest.raises(ConfigError, match="not finished"):
        projecting.project(recipe(), run)
    finish(run)
    same = projecting.project(recipe(), run).projected
    assert same == pytest.approx(projecting.project(recipe(), run).measured)
    assert same["align"] == 20.0 and same[projecting.REFERENCE] == 10.0
    large = recipe(
        rounds=2, prompts={"num_prompts": 30}, align={"max_train_steps": 10, "num_slots": 8}
    )
    grown = projecting.project(large, run)
    assert grown.projected["sample.candidates"] == pytest.approx(6 * 40.0)
    assert grown.projected["score"] == pytest.approx(6 * 10.0)
    assert grown.projected["confirm"] == pytest.approx(6 * 6.0)
    assert grown.projected["align"] == pytest.approx(4 * 20.0)
    slots = 8 / recipe().align.num_slots
    assert grown.projected[projecting.REFERENCE] == pytest.approx(6 * slots * 10.0)
    assert grown.projected["monitor"] == 2.0 and grown.projected["warm_start_sft"] == 100.0
    assert "win_rate" in grown.unmeasured and "confirm" not in grown.unmeasured
    told = projecting.in_words(grown, Devices(num=4, price=3600.0))
    assert f"At 3600 a device-hour: {grown.seconds:,.2f}." in told and "on 4 devices" in told
    other = recipe(critic={"pretrained_model_name_or_path": "models/other"})
    with pytest.raises(ConfigError, match="measured the critic 'embedded'"):
        projecting.project(other, run)


def test_a_run_that_ended_early_is_scaled_by_the_rounds_that_it_finished(run: Path) -> None:
    three = recipe(rounds=3)
    opened = RunDir.open(run, three)
    ended = EndedEvent(why="no preference was kept")
    opened.ledger.commit_unit(Unit(0, 0, "prefer"), events=[ended])
    opened.close()
    with pytest.raises(ConfigError, match="before it had finished a round"):
        projecting.project(three, run)
    finish(run)
    opened = RunDir.open(run, three)
    clock = ClockEvent(stage="score", seconds=7.0, peak_mb=1.0)
    opened.ledger.commit_unit(Unit(1, 0, "prefer"), events=[ended, clock])
    opened.close()
    assert projecting.project(three, run).projected["score"] == pytest.approx(3 * 10.0)
