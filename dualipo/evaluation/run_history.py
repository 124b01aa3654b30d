"""What a run has recorded, read once for the report, the summary and the model card.

Everything comes from the ledger, `metrics.jsonl` and `config.json`; nothing is computed by a model.
A run that is not finished gives what is there. The last attempt of a round is the one that counts:
an event of an earlier attempt is never shown in its place.

Left out: votes and candidates. The stages' events already hold their sums.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from dualipo import tracking
from dualipo.errors import DataError
from dualipo.evaluation import bootstrap
from dualipo.evaluation.bootstrap import Interval
from dualipo.event_parts import Accuracy
from dualipo.events import (
    ClockEvent,
    CriticAccuracyEvent,
    CriticCheckEvent,
    Event,
    HoldoutEvent,
    MonitorEvent,
    PromptsEvent,
    RefreshEvent,
    SampleEvent,
    ScoresEvent,
    SeedEvent,
    WarmStartEvent,
)
from dualipo.store import atomic
from dualipo.store.ledger import Ledger, Unit

BASE = -1  # the round that stands for what was there before round 0
# Recorded once a round, whatever number of attempts follows.
_ROUND_WIDE = (PromptsEvent, SampleEvent, RefreshEvent)

Recorded = tuple[Unit, Event]
Kind = TypeVar("Kind", bound=Event)


@dataclass(frozen=True)
class Clock:
    """What a stage took, over all attempts of its round."""

    seconds: float = 0.0
    peak_mb: float = 0.0


@dataclass(frozen=True)
class RoundHistory:
    """One round: `events`, one of a class, and `metrics` rows of its last attempt by stage."""

    round: int
    attempt: int = 0
    events: Sequence[Event] = ()
    clocks: dict[str, Clock] = field(default_factory=dict)
    metrics: dict[str, list[dict[str, Any]]] = field(default_factory=dict)

    def event(self, kind: type[Kind]) -> Kind | None:
        """Return the round's event of this class; None where it was not recorded."""
        return next((event for event in self.events if isinstance(event, kind)), None)

    @property
    def label(self) -> str:
        """What a reader calls it."""
        return "base" if self.round == BASE else f"round {self.round}"

    @property
    def is_finished(self) -> bool:
        """Whether its last attempt was measured and did not ask for another one."""
        refresh = self.event(RefreshEvent)
        refreshed = refresh is not None and refresh.outcome == "refreshed"
        return self.event(MonitorEvent) is not None and (self.attempt > 0 or not refreshed)

    def score(self, part: str) -> Interval | None:
        """Mean test score of "total" or a dimension; None where it was not measured."""
        scores = self.event(ScoresEvent)
        if not scores or len(set(scores.prompt_ids)) < 2:
            return None
        return bootstrap.clustered_mean(_values(scores, part), clusters=scores.prompt_ids)

    def refresh_outcome(self) -> str | None:
        """What became of its refresh, and of a reverted one why."""
        refresh = self.event(RefreshEvent)
        if refresh is None or refresh.outcome != "reverted":
            return refresh.outcome if refresh else None
        newly_failed = (refresh.refinement and refresh.refinement.newly_failed) or []
        failed = [f"fails its check of {name}" for name in newly_failed]
        return f"reverted ({'; '.join(failed) or 'worse on held-out labels'})"

    def holdout(self) -> float | None:
        """The critic's accuracy on labels held out from its training: what triggers may read."""
        if self.round == BASE:
            holdout = self.event(HoldoutEvent)
            return holdout.accuracy if holdout else None
        monitor = self.event(MonitorEvent)
        return monitor.signals.holdout_accuracy if monitor else None

    def accuracies(self) -> list[tuple[str, Accuracy]]:
        """The critic against the oracle's order, for people: (stage, recorded accuracy)."""
        if self.round == BASE:
            start = self.event(WarmStartEvent)
            steps = (
                [("shipped", start.shipped), ("fine-tuned", start.sft), ("warm start", start.warm)]
                if start
                else []
            )
        else:
            measured = self.event(CriticAccuracyEvent)
            steps = [(self.label, measured.accuracy)] if measured else []
        return [(label, accuracy) for label, accuracy in steps if accuracy.num]


@dataclass(frozen=True)
class RunHistory:
    """A whole run; `base` is what stood before round 0."""

    name: str
    config: dict[str, Any]
    base: RoundHistory
    rounds: list[RoundHistory]
    critic_checks: Sequence[CriticCheckEvent] = ()  # of every version, in order
    unknown: frozenset[str] = frozenset()  # events and fields that another version wrote

    @property
    def finished_rounds(self) -> list[RoundHistory]:
        """The rounds whose numbers are final."""
        return [one for one in self.rounds if one.is_finished]

    @property
    def is_finished(self) -> bool:
        """Whether all rounds asked for are done, or the stopping rule ended the run."""
        done = self.finished_rounds
        last = done[-1].event(MonitorEvent) if done else None
        if self.config.get("refresh.stop_early") and last and last.stop:
            return True
        return len(done) >= self.config.get("rounds", 0)

    @property
    def labels_are_simulated(self) -> bool:
        """Whether a program, not people, made seed labels; an imported seed says whose they are."""
        seed = self.base.event(SeedEvent)
        return set(seed.sources if seed else ()) != {"human"}

    def scored(self) -> list[RoundHistory]:
        """Base and every finished round whose generator has test scores."""
        return [one for one in (self.base, *self.finished_rounds) if one.score("total")]


def read(run_path: Path) -> RunHistory:
    """Read the run at `run_path`, finished or not, without writing to it."""
    if not (run_path / "run.json").is_file():
        raise DataError(f"{run_path}: not a dualipo run (no run.json). Give a run's folder.")
    recorded: list[Recorded] = []
    unknown: set[str] = set()
    if (run_path / "ledger.sqlite").is_file():
        ledger = Ledger(run_path / "ledger.sqlite", read_only=True)
        try:
            recorded, unknown = ledger.events(), ledger.unknown
        finally:
            ledger.close()
    metrics = tracking.read_metrics(run_path / "metrics.jsonl")
    numbers = sorted({unit.round for unit, _ in recorded} - {BASE})
    return RunHistory(
        name=run_path.resolve().name,
        config=atomic.read_json(run_path / "config.json"),
        base=_round(BASE, recorded, metrics),
        rounds=[_round(number, recorded, metrics) for number in numbers],
        critic_checks=[event for _, event in recorded if isinstance(event, CriticCheckEvent)],
        unknown=frozenset(unknown),
    )


def difference(
    before: RoundHistory, after: RoundHistory, *, part: str = "total"
) -> Interval | None:
    """Paired difference of two rounds' test scores; None where their prompts are not the same."""
    runs = [one.event(ScoresEvent) for one in (before, after)]
    if not (runs[0] and runs[1]) or set(runs[0].prompt_ids) != set(runs[1].prompt_ids):
        return None
    grouped = [bootstrap.by_prompt(_values(run, part), run.prompt_ids) for run in runs if run]
    return bootstrap.paired_difference(*grouped) if len(grouped[0]) > 1 else None


def accuracy_interval(accuracy: Accuracy) -> Interval:
    """Wilson's interval of a recorded forced-choice accuracy."""
    return bootstrap.wilson(accuracy.num_correct_forced, accuracy.num)


def _values(scores: ScoresEvent, part: str) -> list[float]:
    by_name = {"total": scores.total} | {str(name): own for name, own in scores.parts.items()}
    return by_name[part]


def _round(number: int, recorded: list[Recorded], metrics: list[dict[str, Any]]) -> RoundHistory:
    own = [(unit, event) for unit, event in recorded if unit.round == number]
    last = max((unit.attempt for unit, _ in own), default=0)
    events: dict[type[Event], Event] = {}
    for unit, event in own:
        if isinstance(event, RefreshEvent):
            events[RefreshEvent] = _telling(events.get(RefreshEvent), event)
        elif unit.attempt == last or isinstance(event, _ROUND_WIDE):
            events[type(event)] = event
    events.pop(ClockEvent, None)
    clocks = _clocks(own)
    return RoundHistory(number, last, tuple(events.values()), clocks, _metrics(metrics, number))


def _telling(before: Event | None, now: RefreshEvent) -> RefreshEvent:
    """A second attempt's "not needed" must not hide why there is a second attempt."""
    if isinstance(before, RefreshEvent) and before.outcome in ("refreshed", "reverted", "empty"):
        return before
    return now


def _clocks(own: Iterable[Recorded]) -> dict[str, Clock]:
    clocks: dict[str, Clock] = {}
    for _, event in own:
        if isinstance(event, ClockEvent):
            before = clocks.get(event.stage, Clock())
            peak_mb = max(before.peak_mb, event.peak_mb)
            clocks[event.stage] = Clock(before.seconds + event.seconds, peak_mb)
    return clocks


def _metrics(rows: list[dict[str, Any]], number: int) -> dict[str, list[dict[str, Any]]]:
    """Rows of the last attempt of each stage, in the order of their steps."""
    own = [row for row in rows if row.get("round") == number]
    stages: dict[str, list[dict[str, Any]]] = {}
    for stage in dict.fromkeys(str(row.get("stage")) for row in own):
        of_stage = [row for row in own if row.get("stage") == stage]
        last = max(row.get("attempt") or 0 for row in of_stage)
        kept = [row for row in of_stage if (row.get("attempt") or 0) == last]
        stages[stage] = sorted(kept, key=lambda row: row["step"])
    return stages
