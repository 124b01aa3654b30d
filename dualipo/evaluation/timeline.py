"""How far a run is: the stages of every attempt in their order, and what it does at this moment.

Read from committed units, the clocks beside them and the last metrics, so a unit that is being
worked on shows as the one after the last committed. Nothing is decided by what stands here.

Left out: the time that the rest will take. The process that works says it on its terminal.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from dualipo.amounts import duration
from dualipo.evaluation.run_history import BASE, RunHistory
from dualipo.events import ClockEvent, RefreshEvent
from dualipo.store import lock
from dualipo.store.ledger import Ledger, Unit

State = Literal["done", "now", "waiting", "skipped"]

_Names = tuple[tuple[str, str], ...]

_START: _Names = (
    ("prompts", "prompts"),
    ("sample.seed", "seed clips"),
    ("label", "seed labels"),
    ("warm_start_sft", "critic: fine-tuning"),
    ("warm_start_dpo", "critic: own traces"),
    ("scores", "base scores"),
)
_ROUND: _Names = (
    ("prompts", "prompts"),
    ("sample.candidates", "clips"),
    ("check", "critic's check"),
    ("score", "grades"),
    ("confirm", "votes"),
    ("prefer", "preferences"),
    ("align", "alignment"),
    ("monitor", "monitor"),
    ("refresh", "critic's refresh"),
    ("scores", "test scores"),
)
_ONCE = ("prompts", "sample.candidates", "refresh")  # of the first attempt alone
_CLOSED_BY = {"score": "judged", "confirm": "judged"}
# The stage of the metrics, and the setting that holds how many steps it has.
_TRAINING = {
    "warm_start_sft": ("warm_start_sft", "warm_start_sft.max_train_steps"),
    "warm_start_dpo": ("warm_start_dpo", "warm_start_dpo.max_train_steps"),
    "align": ("align", "align.max_train_steps"),
    "refresh": ("srpo", "refresh.srpo.max_train_steps"),
}


@dataclass(frozen=True)
class Step:
    """A stage of an attempt; `note` says how far it is, or what it took."""

    name: str
    state: State
    note: str = ""


@dataclass(frozen=True)
class Leg:
    """An attempt of a round, or what comes before the first."""

    label: str
    steps: tuple[Step, ...]

    @property
    def is_done(self) -> bool:
        """Whether nothing of it is left."""
        return all(step.state in ("done", "skipped") for step in self.steps)


@dataclass(frozen=True)
class Timeline:
    """All legs; `state` is the process', `now` what it is at, or was when it stopped."""

    legs: tuple[Leg, ...]
    state: Literal["finished", "working", "stopped"]
    now: str


@dataclass(frozen=True)
class _Recorded:
    units: Sequence[Unit]
    clocks: Sequence[tuple[Unit, ClockEvent]]
    history: RunHistory


def read(run_path: Path, history: RunHistory) -> Timeline:
    """The timeline of the run at `run_path`, whose history was read already."""
    recorded = _recorded(run_path, history)
    legs = [_leg(recorded, BASE, 0)]
    for one in history.rounds:
        legs += [_leg(recorded, one.round, attempt) for attempt in range(one.attempt + 1)]
    done = {one.round for one in history.rounds}
    is_finished = history.is_finished
    if not is_finished:
        rest = (n for n in range(history.config.get("rounds", 0)) if n not in done)
        legs = _with_now([*legs, *(_leg(recorded, round, 0) for round in rest)])
    else:
        legs = [_settled(leg) for leg in legs]
    found = (f"{leg.label}: {step.name}" for leg in legs for step in leg.steps if _is_now(step))
    state: Literal["finished", "working", "stopped"] = "finished"
    if not is_finished:
        state = "working" if lock.is_held(run_path / "LOCK") else "stopped"
    return Timeline(tuple(legs), state, next(found, ""))


def _recorded(run_path: Path, history: RunHistory) -> _Recorded:
    if not (run_path / "ledger.sqlite").is_file():
        return _Recorded((), (), history)
    ledger = Ledger(run_path / "ledger.sqlite", read_only=True)
    try:
        return _Recorded(ledger.units(), ledger.events(ClockEvent), history)
    finally:
        ledger.close()


def _leg(recorded: _Recorded, round: int, attempt: int) -> Leg:
    names = _START if round == BASE else _ROUND
    if attempt:
        names = tuple(pair for pair in names if pair[0] not in _ONCE)
    elif _was_refreshed(recorded.history, round):
        names = tuple(pair for pair in names if pair[0] != "scores")  # the second attempt has them
    own = [unit for unit in recorded.units if (unit.round, unit.attempt) == (round, attempt)]
    begun = [
        n for n, (stage, _) in enumerate(names) if _began(recorded, own, stage, round, attempt)
    ]
    last = max(begun, default=-1)
    steps = []
    for n, (stage, name) in enumerate(names):
        state: State = "waiting"
        if n < last:
            state = "done" if n in begun else "skipped"
        elif n == last:
            state = "done" if _is_closed(own, stage) else "now"
        steps.append(Step(name, state, _note(recorded, own, stage, state, (round, attempt))))
    label = "before round 0" if round == BASE else f"round {round}"
    return Leg(label + (", after the refresh" if attempt else ""), tuple(steps))


def _was_refreshed(history: RunHistory, round: int) -> bool:
    found = (one.event(RefreshEvent) for one in history.rounds if one.round == round)
    return any(event is not None and event.outcome == "refreshed" for event in found)


def _began(recorded: _Recorded, own: Sequence[Unit], stage: str, round: int, attempt: int) -> bool:
    return any(unit.stage == stage for unit in own) or bool(
        _rows(recorded.history, stage, round, attempt)
    )


def _is_closed(own: Sequence[Unit], stage: str) -> bool:
    if stage.startswith("sample."):
        return any(unit.stage == stage and unit.index == -1 for unit in own)
    return any(unit.stage == _CLOSED_BY.get(stage, stage) for unit in own)


def _note(
    recorded: _Recorded, own: Sequence[Unit], stage: str, state: State, where: tuple[int, int]
) -> str:
    if state == "done":
        spent = sum(
            clock.seconds
            for unit, clock in recorded.clocks
            if (unit.round, unit.attempt) == where and clock.stage == stage
        )
        return duration(spent) if spent else ""
    if state != "now":
        return ""
    if rows := _rows(recorded.history, stage, *where):
        total = recorded.history.config.get(_TRAINING[stage][1])
        return f"step {rows[-1]['step'] + 1} of {total}"
    num_units = sum(unit.stage == stage for unit in own)
    return f"{num_units} batches so far" if num_units > 1 else ""


def _rows(history: RunHistory, stage: str, round: int, attempt: int) -> list[dict[str, Any]]:
    """The metrics of a training stage in one attempt."""
    if stage not in _TRAINING:
        return []
    stages = (one for one in (history.base, *history.rounds) if one.round == round)
    found = (row for one in stages for row in one.metrics.get(_TRAINING[stage][0], []))
    return [row for row in found if (row.get("attempt") or 0) == attempt]


def _with_now(legs: list[Leg]) -> list[Leg]:
    """What precedes the last leg that began is over; between two stages the next one is "now"."""
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
    """Of what is over nothing waits: what has no unit was not asked for."""
    after: dict[State, State] = {"waiting": "skipped", "now": "done"}
    steps = (replace(step, state=after.get(step.state, step.state)) for step in leg.steps)
    return Leg(leg.label, tuple(steps))


def _is_now(step: Step) -> bool:
    return step.state == "now"
