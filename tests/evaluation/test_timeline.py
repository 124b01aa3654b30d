"""The timeline shows what is done, what is under way, and whether a process works on the run."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from dualipo import config, tracking
from dualipo.evaluation import run_history, timeline
from dualipo.evaluation.timeline import Timeline
from dualipo.event_parts import Signals
from dualipo.events import ClockEvent, Event, MonitorEvent, RefreshEvent
from dualipo.store.ledger import Unit
from dualipo.store.run_reader import RunReader
from dualipo.store.rundir import RunDir

Commit = Callable[..., None]
MONITORED = MonitorEvent(signals=Signals(), triggers=[], stop=[], winner_gap=None)
REFRESHED = RefreshEvent(outcome="refreshed", why=[], critic_version="c000.0")


@pytest.fixture
def run(tmp_path: Path) -> Iterator[RunDir]:
    settings = config.resolve({"rounds": 2, "align": {"max_train_steps": 80}}, subject="test")
    opened = RunDir.open(tmp_path / "run", settings)
    yield opened
    opened.close()


def commit(run: RunDir, round: int, *stages: str, attempt: int = 0, **events: Event) -> None:
    for stage in stages:
        unit = Unit(round, attempt, stage, -1 if stage.startswith("sample.") else 0)
        clock = ClockEvent(stage=stage, seconds=61.0, peak_mb=1.0)
        own = [event for name, event in events.items() if name == stage]
        run.ledger.commit_unit(unit, events=[clock, *own])


def read(run: RunDir) -> Timeline:
    reader = RunReader(run.path)
    return timeline.read(reader, run_history.read(reader))


def states(run: RunDir, leg: int) -> dict[str, str]:
    return {step.name: step.state for step in read(run).legs[leg].steps}


def test_a_run_that_has_just_begun_is_at_its_first_stage(run: RunDir) -> None:
    shown = read(run)
    assert (shown.state, shown.now) == ("working", "before round 0: prompts")
    assert [leg.label for leg in shown.legs] == ["before round 0", "round 0", "round 1"]
    assert states(run, 1) == dict.fromkeys(states(run, 1), "waiting")


def test_every_moment_of_a_round_has_its_stage(run: RunDir) -> None:
    commit(run, -1, "prompts", "label", "warm_start_sft", "warm_start_dpo", "scores")
    assert states(run, 0)["seed clips"] == "skipped", "an imported seed is not sampled"
    commit(run, 0, "prompts")
    run.ledger.commit_unit(Unit(0, 0, "sample.candidates", 0))
    run.ledger.commit_unit(Unit(0, 0, "sample.candidates", 1))
    assert read(run).now == "round 0: clips"
    assert read(run).legs[1].steps[1].note == "2 batches so far"
    commit(run, 0, "sample.candidates", "score")
    assert read(run).now == "round 0: grades", "more units may come"
    commit(run, 0, "confirm", "judged", "prefer")
    assert read(run).now == "round 0: alignment"
    with tracking.Metrics(run.metrics_path) as metrics:
        metrics.log(23, round=0, attempt=0, stage="align", loss=0.69)
    step = next(step for step in read(run).legs[1].steps if step.name == "alignment")
    assert (step.state, step.note) == ("now", "step 24 of 80")
    commit(run, 0, "align")
    assert read(run).now == "round 0: monitor"
    assert next(s.note for s in read(run).legs[1].steps if s.name == "votes") == "61.0 s"


def test_a_refreshed_critic_makes_a_second_leg_which_has_the_scores(run: RunDir) -> None:
    commit(run, 0, "monitor", monitor=MONITORED)
    commit(run, 0, "refresh", refresh=REFRESHED)
    commit(run, 0, "score", attempt=1)
    first, second = read(run).legs[1:3]
    assert second.label == "round 0, after the refresh"
    assert "test scores" not in [step.name for step in first.steps]
    assert [step.name for step in second.steps][-1] == "test scores"
    assert read(run).now == "round 0, after the refresh: grades"


def test_nobody_at_work_is_said_and_a_finished_run_waits_for_nothing(run: RunDir) -> None:
    for round in (0, 1):
        commit(run, round, "align", "monitor", "scores", monitor=MONITORED)
    run.close()
    shown = read(run)
    assert (shown.state, shown.now) == ("finished", "")
    assert all(leg.is_done for leg in shown.legs)


def test_an_interrupted_run_is_stopped(run: RunDir) -> None:
    commit(run, -1, "prompts")
    run.close()
    shown = read(run)
    assert (shown.state, shown.now) == ("stopped", "before round 0: seed clips")
