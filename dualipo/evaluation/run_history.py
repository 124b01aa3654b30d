"""What a run has recorded, read once for the report, the summary and the model card.

Everything comes from the ledger, `metrics.jsonl` and `config.json`; nothing is computed by a model.
A run that is not finished gives what is there. The last attempt of a round is the one that counts:
an event of an earlier attempt is never shown in its place.

Left out: votes and candidates. The stages' events already hold their sums.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dualipo import tracking
from dualipo.errors import DataError
from dualipo.evaluation import bootstrap
from dualipo.evaluation.bootstrap import Interval
from dualipo.store import atomic
from dualipo.store.ledger import Ledger, Unit

BASE = -1  # the round that stands for what was there before round 0
_CLOCK = "clock."
_WARM_STAGES = (("shipped", "shipped"), ("sft", "fine-tuned"), ("warm", "warm start"))
# Recorded once a round, whatever number of attempts follows.
_ROUND_WIDE = ("prompts", "sample", "refresh")

Recorded = tuple[Unit, str, Any]


@dataclass(frozen=True)
class Clock:
    """What a stage took, over all attempts of its round."""

    seconds: float = 0.0
    peak_mb: float = 0.0


@dataclass(frozen=True)
class RoundHistory:
    """One round: `events` by name, `metrics` rows of its last attempt by stage."""

    round: int
    attempt: int = 0
    events: dict[str, Any] = field(default_factory=dict)
    clocks: dict[str, Clock] = field(default_factory=dict)
    metrics: dict[str, list[dict[str, Any]]] = field(default_factory=dict)

    @property
    def label(self) -> str:
        """What a reader calls it."""
        return "base" if self.round == BASE else f"round {self.round}"

    @property
    def is_finished(self) -> bool:
        """Whether its last attempt was measured and did not ask for another one."""
        refreshed = self.events.get("refresh", {}).get("outcome") == "refreshed"
        return "monitor" in self.events and (self.attempt > 0 or not refreshed)

    def score(self, part: str) -> Interval | None:
        """Mean test score of "total" or a dimension; None where it was not measured."""
        scores = self.events.get("scores")
        if not scores or len(set(scores["prompt_ids"])) < 2:
            return None
        return bootstrap.clustered_mean(_values(scores, part), clusters=scores["prompt_ids"])

    def refresh_outcome(self) -> str | None:
        """What became of its refresh, and of a reverted one why."""
        refresh = self.events.get("refresh", {})
        if refresh.get("outcome") != "reverted":
            return refresh.get("outcome")
        failed = [f"fails its check of {name}" for name in refresh.get("newly_failed", ())]
        return f"reverted ({'; '.join(failed) or 'worse on held-out labels'})"

    def holdout(self) -> float | None:
        """The critic's accuracy on labels held out from its training: what triggers may read."""
        if self.round == BASE:
            return self.events.get("holdout", {}).get("accuracy")
        return self.events.get("monitor", {}).get("holdout_accuracy")

    def accuracies(self) -> list[tuple[str, dict[str, Any]]]:
        """The critic against the oracle's order, for people: (stage, recorded accuracy)."""
        if self.round == BASE:
            warm = self.events.get("warm_start", {})
            found = [(label, warm.get(key)) for key, label in _WARM_STAGES]
        else:
            found = [(self.label, self.events.get("critic_accuracy"))]
        return [(label, one) for label, one in found if one and one["num"]]


@dataclass(frozen=True)
class RunHistory:
    """A whole run; `base` is what stood before round 0."""

    name: str
    config: dict[str, Any]
    base: RoundHistory
    rounds: list[RoundHistory]
    critic_checks: list[dict[str, Any]] = field(default_factory=list)  # of every version, in order

    @property
    def finished_rounds(self) -> list[RoundHistory]:
        """The rounds whose numbers are final."""
        return [one for one in self.rounds if one.is_finished]

    @property
    def is_finished(self) -> bool:
        """Whether all rounds asked for are done, or the stopping rule ended the run."""
        done = self.finished_rounds
        if self.config.get("refresh.stop_early") and done and done[-1].events["monitor"]["stop"]:
            return True
        return len(done) >= self.config.get("rounds", 0)

    @property
    def labels_are_simulated(self) -> bool:
        """Whether a program, not people, made seed labels; an imported seed says whose they are."""
        return set(self.base.events.get("seed", {}).get("sources", ())) != {"human"}

    def scored(self) -> list[RoundHistory]:
        """Base and every finished round whose generator has test scores."""
        return [one for one in (self.base, *self.finished_rounds) if one.score("total")]


def read(run_path: Path) -> RunHistory:
    """Read the run at `run_path`, finished or not, without writing to it."""
    if not (run_path / "run.json").is_file():
        raise DataError(f"{run_path}: not a dualipo run (no run.json). Give a run's folder.")
    recorded: list[Recorded] = []
    if (run_path / "ledger.sqlite").is_file():
        ledger = Ledger(run_path / "ledger.sqlite", read_only=True)
        try:
            recorded = ledger.events()
        finally:
            ledger.close()
    metrics = tracking.read_metrics(run_path / "metrics.jsonl")
    numbers = sorted({unit.round for unit, _, _ in recorded} - {BASE})
    return RunHistory(
        name=run_path.resolve().name,
        config=atomic.read_json(run_path / "config.json"),
        base=_round(BASE, recorded, metrics),
        rounds=[_round(number, recorded, metrics) for number in numbers],
        critic_checks=[value for _, name, value in recorded if name == "critic_check"],
    )


def difference(
    before: RoundHistory, after: RoundHistory, *, part: str = "total"
) -> Interval | None:
    """Paired difference of two rounds' test scores; None where their prompts are not the same."""
    runs = [one.events.get("scores") for one in (before, after)]
    if not (runs[0] and runs[1]) or set(runs[0]["prompt_ids"]) != set(runs[1]["prompt_ids"]):
        return None
    grouped = [bootstrap.by_prompt(_values(run, part), run["prompt_ids"]) for run in runs if run]
    return bootstrap.paired_difference(*grouped) if len(grouped[0]) > 1 else None


def accuracy_interval(accuracy: dict[str, Any]) -> Interval:
    """Wilson's interval of a recorded forced-choice accuracy."""
    return bootstrap.wilson(accuracy["num_correct_forced"], accuracy["num"])


def _values(scores: dict[str, Any], part: str) -> list[float]:
    return scores["total"] if part == "total" else scores["parts"][part]


def _round(number: int, recorded: list[Recorded], metrics: list[dict[str, Any]]) -> RoundHistory:
    own = [(unit, name, value) for unit, name, value in recorded if unit.round == number]
    last = max((unit.attempt for unit, _, _ in own), default=0)
    events: dict[str, Any] = {}
    for unit, name, value in own:
        if name == "refresh":
            events[name] = _telling(events.get(name), value)
        elif unit.attempt == last or name in _ROUND_WIDE:
            events[name] = value
    clocks = _clocks(own)
    events = {name: value for name, value in events.items() if not name.startswith(_CLOCK)}
    return RoundHistory(number, last, events, clocks, _metrics(metrics, number))


def _telling(before: dict[str, Any] | None, now: dict[str, Any]) -> dict[str, Any]:
    """A second attempt's "not needed" must not hide why there is a second attempt."""
    if before and before["outcome"] in ("refreshed", "reverted", "empty"):
        return before
    return now


def _clocks(own: Iterable[Recorded]) -> dict[str, Clock]:
    clocks: dict[str, Clock] = {}
    for _, name, value in own:
        if name.startswith(_CLOCK):
            stage = name.removeprefix(_CLOCK)
            before = clocks.get(stage, Clock())
            peak_mb = max(before.peak_mb, value["peak_mb"])
            clocks[stage] = Clock(before.seconds + value["seconds"], peak_mb)
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
