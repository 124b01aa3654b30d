"""The history of a run: its events, metrics and clocks, round by round.

The report, the summary and the model card are made from it. A run that is not finished gives what
is there. The last attempt of a round is the one that counts: an event of an earlier attempt is
never shown in its place.

Left out: votes and candidates. The stages' events already hold their sums.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from dualipo.errors import DualipoError
from dualipo.evaluation import bootstrap, measured
from dualipo.evaluation.bootstrap import Interval
from dualipo.evaluation.clocks import once
from dualipo.event_parts import Accuracy, Refinement
from dualipo.events import (
    AlignEvent,
    BadClipEvent,
    ClockEvent,
    CriticAccuracyEvent,
    CriticCheckEvent,
    EndedEvent,
    Event,
    GalleryEvent,
    HoldoutEvent,
    LeftOutEvent,
    MeasuredEvent,
    MonitorEvent,
    PromptsEvent,
    RefreshEvent,
    SampledAgainEvent,
    SampleEvent,
    ScoresEvent,
    SeedEvent,
    TuneEvent,
    WarmStartEvent,
)
from dualipo.store import atomic
from dualipo.store.ledger import Unit
from dualipo.store.run_reader import RunReader
from dualipo.suite_events import SuiteDimensionEvent, SuiteEvent

BASE = -1  # the round that stands for what was there before round 0
# Recorded once a round, whatever number of attempts follows.
TRIED = ("refreshed", "reverted", "empty", "too few")  # outcomes of a refresh that was begun
_ROUND_WIDE = (PromptsEvent, SampleEvent, RefreshEvent)

STUDY = "study/result.json"

Recorded = tuple[Unit, Event]
Kind = TypeVar("Kind", bound=Event)


@dataclass(frozen=True)
class Clock:
    """The time and the peak memory of a stage, over all attempts of its round."""

    seconds: float = 0.0
    peak_mb: float = 0.0


@dataclass(frozen=True)
class RoundHistory:
    """One round: at most one event of each class, and the metrics of its last attempt by stage."""

    round: int
    attempt: int = 0
    events: Sequence[Event] = ()
    clocks: dict[str, Clock] = field(default_factory=dict)
    metrics: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    left_out: Sequence[LeftOutEvent] = ()  # of all units of the round
    measured: Sequence[MeasuredEvent] = ()  # of its last attempt, one for each source
    suites: Sequence[SuiteEvent] = ()  # the scores of suites of its last attempt

    def event(self, kind: type[Kind]) -> Kind | None:
        """Return the round's event of this class; None where it was not recorded."""
        return next((event for event in self.events if isinstance(event, kind)), None)

    @property
    def label(self) -> str:
        """The display name, for example "round 2"."""
        return "base" if self.round == BASE else f"round {self.round}"

    @property
    def is_finished(self) -> bool:
        """True when the last attempt was measured and no other one follows."""
        refresh = self.event(RefreshEvent)
        refreshed = refresh is not None and refresh.outcome == "refreshed"
        return self.event(MonitorEvent) is not None and (self.attempt > 0 or not refreshed)

    def score(self, part: str) -> Interval | None:
        """Return the mean test score, "total" or of a dimension; None where it was not measured."""
        scores = self.event(ScoresEvent)
        if not scores or len(set(scores.prompt_ids)) < 2:
            return None
        return bootstrap.clustered_mean(_values(scores, part), clusters=scores.prompt_ids)

    def refresh_outcome(self) -> str | None:
        """Say how the critic's refresh ended, and why it was reverted if it was."""
        refresh = self.event(RefreshEvent)
        if refresh is not None and refresh.outcome == "empty":
            return "empty (no judgement was usable)"
        if refresh is not None and refresh.outcome == "too few":
            return f"too few pairs to learn from{_counted(refresh)}"
        if refresh is None or refresh.outcome != "reverted":
            return refresh.outcome if refresh else None
        failed = [f"fails its check of {name}" for name in _newly_failed(refresh)]
        return f"reverted ({'; '.join(failed) or _ruled(refresh.refinement)})"

    def holdout(self) -> float | None:
        """Return the critic's accuracy on labels held out from its training."""
        if self.round == BASE:
            holdout = self.event(HoldoutEvent)
            return holdout.accuracy if holdout else None
        monitor = self.event(MonitorEvent)
        return monitor.signals.holdout_accuracy if monitor else None

    def accuracies(self) -> list[tuple[str, Accuracy]]:
        """Return the critic's accuracy on pairs that the oracle orders, with each stage's name."""
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
    """The history of a whole run; `base` holds what was there before round 0."""

    name: str
    settings: dict[str, Any]
    base: RoundHistory
    rounds: list[RoundHistory]
    critic_checks: Sequence[CriticCheckEvent] = ()  # one for each critic version, in order
    unknown: frozenset[str] = frozenset()  # events and fields that another version wrote
    num_bad_clips: int = 0  # clips whose files went missing or bad
    num_sampled_again: int = 0  # those of them that a new draw replaced
    study: Sequence[Mapping[str, Any]] = ()  # comparisons of a blind study of this run's versions

    @property
    def all_rounds(self) -> list[RoundHistory]:
        """Base and every round that has begun."""
        return [self.base, *self.rounds]

    @property
    def finished_rounds(self) -> list[RoundHistory]:
        """The rounds whose numbers are final."""
        return [round_ for round_ in self.rounds if round_.is_finished]

    @property
    def tuning(self) -> TuneEvent | None:
        """What a tuning learns from; None for a run with rounds and a critic."""
        return self.base.event(TuneEvent)

    @property
    def is_finished(self) -> bool:
        """True when all rounds of the recipe are done, or the stopping rule ended the run."""
        if self.tuning:
            return any(round_.event(GalleryEvent) for round_ in self.rounds)
        if self.end_reason:
            return True
        done = self.finished_rounds
        last = done[-1].event(MonitorEvent) if done else None
        if self.settings.get("refresh.stop_early") and last and last.stop:
            return True
        return len(done) >= self.settings.get("rounds", 0)

    @property
    def end_reason(self) -> str | None:
        """The reason why the run ended in a round that could not go on; None where none did."""
        ended = self.rounds[-1].event(EndedEvent) if self.rounds else None
        # A run that got new captions has gone on since.
        return ended.why if ended and not self.rounds[-1].event(AlignEvent) else None

    @property
    def labels_are_simulated(self) -> bool:
        """True when a program made seed labels; only an imported seed can say that people did."""
        if self.tuning:
            return "simulated" in self.tuning.sources
        seed = self.base.event(SeedEvent)
        if seed is None and self.has_own_captions:
            return False  # nobody has labelled anything yet
        return set(seed.sources if seed else ()) != {"human"}

    @property
    def has_own_captions(self) -> bool:
        """True when captions come from a file: no program can label or score their clips."""
        return bool(self.settings.get("prompts.source") == "file")

    def scored(self) -> list[RoundHistory]:
        """Return base and the finished rounds, those that have test scores."""
        return [round_ for round_ in (self.base, *self.finished_rounds) if round_.score("total")]


def read(run: RunReader, *, with_clocks: bool = True) -> RunHistory:
    """Read the history of a run, finished or not; the sums of its clocks take longest."""
    recorded, unknown = run.round_events() if run.has_ledger else ([], set())
    metrics = run.metrics(of_training=True)
    if with_clocks and run.has_ledger:
        recorded += [(unit, clock) for unit, clock, _ in run.clock_sums()]
    again = [event for _, event in recorded if isinstance(event, SampledAgainEvent)]
    numbers = sorted({unit.round for unit, _ in recorded} - {BASE})
    return RunHistory(
        name=run.name,
        settings=run.settings,
        base=_round(BASE, recorded, metrics),
        rounds=[_round(number, recorded, metrics) for number in numbers],
        critic_checks=[event for _, event in recorded if isinstance(event, CriticCheckEvent)],
        unknown=frozenset(unknown),
        num_bad_clips=sum(isinstance(event, BadClipEvent) for _, event in recorded),
        num_sampled_again=sum(event.is_usable for event in again),
        study=_study(run.path / STUDY),
    )


def _study(path: Path) -> list[dict[str, Any]]:
    """Return the comparisons that `dualipo study result` wrote; none where there is no result."""
    if not path.is_file():
        return []
    try:
        return list(atomic.read_json(path)["comparisons"])
    except (DualipoError, KeyError, TypeError):  # a file that somebody changed is no result
        return []


def difference(
    before: RoundHistory, after: RoundHistory, *, part: str = "total"
) -> Interval | None:
    """Return the paired difference of two rounds' test scores; None if their prompts differ."""
    first, second = before.event(ScoresEvent), after.event(ScoresEvent)
    if not (first and second) or set(first.prompt_ids) != set(second.prompt_ids):
        return None
    grouped = [bootstrap.by_prompt(_values(s, part), s.prompt_ids) for s in (first, second)]
    return bootstrap.paired_difference(*grouped) if len(grouped[0]) > 1 else None


def accuracy_interval(accuracy: Accuracy) -> Interval:
    """Return Wilson's interval of a recorded forced-choice accuracy."""
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
            events[RefreshEvent] = _more_telling(events.get(RefreshEvent), event)
        elif unit.attempt == last or isinstance(event, _ROUND_WIDE):
            events[type(event)] = event
    events.pop(ClockEvent, None)
    events.pop(LeftOutEvent, None)
    for of_versions in (MeasuredEvent, SuiteDimensionEvent, SuiteEvent):
        events.pop(of_versions, None)
    return RoundHistory(
        number,
        last,
        tuple(events.values()),
        _clocks(own),
        _metrics(metrics, number),
        [event for _, event in own if isinstance(event, LeftOutEvent)],
        measured.newest([event for unit, event in own if unit.attempt == last]),
        [e for unit, e in own if isinstance(e, SuiteEvent) and unit.attempt == last],
    )


def _more_telling(before: Event | None, now: RefreshEvent) -> RefreshEvent:
    """Return which of two refresh events of one round the report shows.

    A second attempt's "not needed" must not hide the refresh that it follows.
    """
    if isinstance(before, RefreshEvent) and before.outcome in TRIED:
        return before
    return now


def _clocks(own: Iterable[Recorded]) -> dict[str, Clock]:
    clocks: dict[str, Clock] = {}
    timed = [(unit, event) for unit, event in own if isinstance(event, ClockEvent)]
    for _, event in once(timed):
        before = clocks.get(event.stage, Clock())
        peak_mb = max(before.peak_mb, event.peak_mb)
        clocks[event.stage] = Clock(before.seconds + event.seconds, peak_mb)
    return clocks


def _metrics(rows: list[dict[str, Any]], number: int) -> dict[str, list[dict[str, Any]]]:
    """Return the rows of each stage's last attempt, in the order of their steps."""
    own = [row for row in rows if row.get("round") == number]
    stages: dict[str, list[dict[str, Any]]] = {}
    for stage in dict.fromkeys(str(row.get("stage")) for row in own):
        stage_rows = [row for row in own if row.get("stage") == stage]
        last = max(row.get("attempt") or 0 for row in stage_rows)
        kept = [row for row in stage_rows if (row.get("attempt") or 0) == last]
        stages[stage] = sorted(kept, key=lambda row: row["step"])
    return stages


def _counted(refresh: RefreshEvent) -> str:
    """Return how many pairs each source gave, in brackets."""
    sources = (refresh.refinement and refresh.refinement.sources) or []
    counts = [f"{source.name} {source.num_pairs}" for source in sources]
    return f" ({', '.join(counts)})" if counts else ""


def _newly_failed(refresh: RefreshEvent) -> list[str]:
    return (refresh.refinement and refresh.refinement.newly_failed) or []


def _ruled(refinement: Refinement | None) -> str:
    """Say why the gate kept the old critic; runs of older versions compared held-out accuracies."""
    if refinement is None or refinement.sources is None:
        return "worse on held-out labels"
    if refinement.gate is not None:
        return f"{refinement.gate.verdict} on {refinement.gate.num_labels} labels"
    return "too few labels to compare by" if refinement.holdout_after else "it answers no label"
