"""The timeline of a run: the stages of every attempt in order, and the stage it is at now.

It is read from committed units, their clocks and the newest metrics, so the stage at work is the
one after the last that committed a unit. Nothing in a run reads it.

Left out: the time that the rest will take. The process at work says it on its terminal.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from dualipo.amounts import duration
from dualipo.evaluation import clocks
from dualipo.evaluation.run_history import BASE, RunHistory
from dualipo.events import ClockEvent, RefreshEvent
from dualipo.stages import Stage, of_attempt, of_start
from dualipo.store.ledger import Unit
from dualipo.store.run_reader import RunReader

State = Literal["done", "now", "waiting", "skipped"]


@dataclass(frozen=True)
class Step:
    """A stage of an attempt; `note` says how far it is, or how long it took."""

    name: str
    state: State
    note: str = ""


@dataclass(frozen=True)
class Leg:
    """The stages of one attempt of a round, or those before round 0."""

    label: str
    steps: tuple[Step, ...]

    @property
    def is_done(self) -> bool:
        """True when every stage is done or was skipped."""
        return all(step.state in ("done", "skipped") for step in self.steps)


@dataclass(frozen=True)
class Timeline:
    """All legs of a run, whether a process works on it, and the stage it is at or stopped in."""

    legs: tuple[Leg, ...]
    state: Literal["finished", "working", "stopped"]
    now: str


@dataclass(frozen=True)
class _Recorded:
    units: Mapping[Unit, int]  # how many each stage has
    clocks: Sequence[tuple[Unit, ClockEvent]]
    history: RunHistory


def read(run: RunReader, history: RunHistory) -> Timeline:
    """Read the timeline of a run, given its history."""
    recorded = _recorded(run, history)
    legs = [_leg(recorded, BASE, 0)]
    for begun in history.rounds:
        legs += [_leg(recorded, begun.round, attempt) for attempt in range(begun.attempt + 1)]
    numbers = {begun.round for begun in history.rounds}
    is_finished = history.is_finished
    if not is_finished:
        rest = (n for n in range(history.settings.get("rounds", 0)) if n not in numbers)
        legs = _with_now([*legs, *(_leg(recorded, round, 0) for round in rest)])
    else:
        legs = [_settled(leg) for leg in legs]
    now = (f"{leg.label}: {step.name}" for leg in legs for step in leg.steps if _is_now(step))
    state: Literal["finished", "working", "stopped"] = "finished"
    if not is_finished:
        state = "working" if run.is_working else "stopped"
    return Timeline(tuple(legs), state, next(now, ""))


def _recorded(run: RunReader, history: RunHistory) -> _Recorded:
    if not run.has_ledger:
        return _Recorded({}, (), history)
    sums = [(unit, clock) for unit, clock, _ in run.clock_sums()]
    return _Recorded(run.stage_units(), clocks.once(sums), history)


def _leg(recorded: _Recorded, round: int, attempt: int) -> Leg:
    is_last = attempt > 0 or not _was_refreshed(recorded.history, round)
    stages = of_start() if round == BASE else of_attempt(attempt, is_last=is_last)
    named = [(stage, stage.name) for stage in stages if stage.name]
    own = [unit for unit in recorded.units if (unit.round, unit.attempt) == (round, attempt)]
    begun = [
        n for n, (stage, _) in enumerate(named) if _began(recorded, own, stage, round, attempt)
    ]
    last = max(begun, default=-1)
    steps = []
    for n, (stage, name) in enumerate(named):
        state: State = "waiting"
        if n < last:
            state = "done" if n in begun else "skipped"
        elif n == last:
            state = "done" if _is_closed(own, stage) else "now"
        steps.append(Step(name, state, _note(recorded, own, stage, state, (round, attempt))))
    label = "before round 0" if round == BASE else f"round {round}"
    return Leg(label + (", after the refresh" if attempt else ""), tuple(steps))


def _was_refreshed(history: RunHistory, round: int) -> bool:
    refreshes = (own.event(RefreshEvent) for own in history.rounds if own.round == round)
    return any(event is not None and event.outcome == "refreshed" for event in refreshes)


def _began(
    recorded: _Recorded, own: Sequence[Unit], stage: Stage, round: int, attempt: int
) -> bool:
    return any(unit.stage == stage.stage_id for unit in own) or bool(
        _rows(recorded.history, stage, round, attempt)
    )


def _is_closed(own: Sequence[Unit], stage: Stage) -> bool:
    closing = (stage.closed_by or stage.stage_id, stage.closing_index)
    return any((unit.stage, unit.index) == closing for unit in own)


def _note(
    recorded: _Recorded, own: Sequence[Unit], stage: Stage, state: State, where: tuple[int, int]
) -> str:
    if state == "done":
        spent = sum(
            clock.seconds
            for unit, clock in recorded.clocks
            if (unit.round, unit.attempt) == where and clock.stage == stage.stage_id
        )
        return duration(spent) if spent else ""
    if state != "now":
        return ""
    if stage.training and (rows := _rows(recorded.history, stage, *where)):
        total = recorded.history.settings.get(stage.training.steps_setting)
        return f"step {rows[-1]['step'] + 1} of {total}"
    num_units = sum(recorded.units[unit] for unit in own if unit.stage == stage.stage_id)
    return f"{num_units} batches so far" if num_units > 1 else ""


def _rows(history: RunHistory, stage: Stage, round: int, attempt: int) -> list[dict[str, Any]]:
    """Return the metrics of a training stage in one attempt."""
    if stage.training is None:
        return []
    of_round = (own for own in history.all_rounds if own.round == round)
    rows = (row for own in of_round for row in own.metrics.get(stage.training.metrics, []))
    return [row for row in rows if (row.get("attempt") or 0) == attempt]


def _with_now(legs: list[Leg]) -> list[Leg]:
    """Settle the legs before the last that began, and mark the stage that the run is at.

    Between two stages the next one counts as under way.
    """
    began = [n for n, leg in enumerate(legs) if any(s.state != "waiting" for s in leg.steps)]
    last = max(began, default=0)
    legs = [_settled(leg) if n < last else leg for n, leg in enumerate(legs)]
    if any(_is_now(step) for step in legs[last].steps):
        return legs
    for n in range(last, len(legs)):
        for place, step in enumerate(legs[n].steps):
            if step.state == "waiting":
                steps = (*legs[n].steps[:place], replace(step, state="now"))
                legs[n] = Leg(legs[n].label, steps + legs[n].steps[place + 1 :])
                return legs
    return legs


def _settled(leg: Leg) -> Leg:
    """Return a leg that is over: a stage without a unit was not asked for, so it was skipped."""
    after: dict[State, State] = {"waiting": "skipped", "now": "done"}
    steps = (replace(step, state=after.get(step.state, step.state)) for step in leg.steps)
    return Leg(leg.label, tuple(steps))


def _is_now(step: Step) -> bool:
    return step.state == "now"
