"""The generator version that a run recommends, and the reason in words.

| what was measured | recommended |
|---|---|
| the recipe's evaluation (`Signals.evaluation_total`) | the version with the highest total |
| judges that never train | the version that they prefer to the base the most, else the base |
| the critic's win rates alone | the last whose win rate over the version before is over half |
| neither says so | the base model: no version is shown to be better |

A win rate counts only if its whole 95 % interval is over half. It is Wilson's, which is too wide
rather than too narrow where prompts are won in part. The oracle of the embedded world is not read:
it reports to people and selects nothing. Rounds that were passed over for an earlier one (by
`keep_best`, or by a fork) are left out.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from dualipo.evaluation import bootstrap, measured
from dualipo.evaluation.bootstrap import Interval
from dualipo.evaluation.clip_changes import interval
from dualipo.evaluation.run_history import BASE, RoundHistory, RunHistory
from dualipo.events import AlignEvent, KeepBestEvent, MonitorEvent

BASE_VERSION = "base"
_EVEN = 0.5


@dataclass(frozen=True)
class Recommendation:
    """A generator version, the round that made it (-1 for the base model), and why it is taken."""

    version_id: str
    round: int
    why: str

    @property
    def is_base(self) -> bool:
        """True where the model that the recipe names is recommended."""
        return self.round == BASE

    @property
    def sentence(self) -> str:
        """The recommendation in one sentence for a headline."""
        return f"Recommended version: {self.version_id}, because {self.why}."


def recommend(history: RunHistory) -> Recommendation:
    """Return the version that a run recommends so far; a tuning makes one, which it recommends."""
    made = _candidates(history)
    if history.tuning:
        return _tuned(made)
    return _best_evaluated(history, made) or _best_judged(made) or _last_winner(made) or _base(made)


def win_rate(round_: RoundHistory) -> Interval | None:
    """Return the critic's win rate of a round's version over the one before, with its interval.

    It is None where nothing was compared. An older dualipo kept no number of prompts: its interval
    is that of no prompt, from 0 to 1.
    """
    monitor = round_.event(MonitorEvent)
    if monitor is None or monitor.signals.win_rate is None:
        return None
    share, num = monitor.signals.win_rate, monitor.signals.num_win_rate_prompts
    return bootstrap.wilson(share * num, num) if num else Interval(share, 0.0, 1.0, 0)


def version_of(round_: RoundHistory) -> str:
    """Return the generator version that stands for a round, which its last attempt made."""
    aligned = round_.event(AlignEvent)
    return aligned.generator_version if aligned else BASE_VERSION


def _candidates(history: RunHistory) -> list[RoundHistory]:
    """Return the rounds whose versions may be recommended."""
    if history.tuning:
        return [round_ for round_ in history.rounds if round_.event(AlignEvent)]
    passed_over = {
        number
        for round_ in history.rounds
        if (kept := round_.event(KeepBestEvent))
        for number in range(kept.round + 1, round_.round + 1)
    }
    return [round_ for round_ in history.finished_rounds if round_.round not in passed_over]


def _tuned(made: Sequence[RoundHistory]) -> Recommendation:
    if not made:
        return Recommendation(BASE_VERSION, BASE, "the tuning has made no version yet")
    return Recommendation(version_of(made[-1]), made[-1].round, "a tuning makes one version")


def _best_evaluated(history: RunHistory, made: Sequence[RoundHistory]) -> Recommendation | None:
    totals = [
        (total, round_) for round_ in (history.base, *made) if (total := _total(round_)) is not None
    ]
    if all(round_ is history.base for _, round_ in totals):  # nothing that it compares with
        return None
    best, round_ = max(totals, key=lambda pair: (pair[0] or 0.0, -pair[1].round))
    measured_rounds = [other for _, other in totals]
    told = [f"{other.label} {total:.2f}" for total, other in totals if other != round_]
    told += [f"{other.label} not measured" for other in made if other not in measured_rounds]
    others = ", ".join(told)
    why = f"its evaluation total is the highest, {best:.2f}" + (f" ({others})" if others else "")
    return Recommendation(version_of(round_), round_.round, why + _doubt(round_))


def _doubt(round_: RoundHistory) -> str:
    """Say where the interval of a total's change against the base does not show a difference."""
    changes = [
        ends
        for event in round_.measured
        if event.source in (measured.VBENCH, measured.WORLD_SUITE)
        if (change := measured.named(event.measurements, measured.TOTAL, against=BASE_VERSION))
        if (ends := interval(change))
    ]
    if not changes or changes[-1].excludes_zero:
        return ""
    shown = changes[-1].ends("{:+.2f}".format)
    return f", though its difference from the base is not shown ({shown})"


def _total(round_: RoundHistory) -> float | None:
    """Return the suite's total of a round's version; the base has no monitor, only the suite."""
    monitor = round_.event(MonitorEvent)
    if monitor is not None and monitor.signals.evaluation_total is not None:
        return monitor.signals.evaluation_total
    return measured.evaluation_total(round_.measured, version_of(round_))


def _best_judged(made: Sequence[RoundHistory]) -> Recommendation | None:
    """Return what judges that never train say; None where none of them answered."""
    rates = [(round_, rate) for round_ in made for rate in _judged(round_)]
    if not rates:
        return None
    worse = {round_.round for round_, (_, rate) in rates if rate.is_enough and rate.high < _EVEN}
    better = [
        (rate.mean, name, round_)
        for round_, (name, rate) in rates
        if rate.is_enough and rate.low > _EVEN and round_.round not in worse
    ]
    if not better:
        told = "; ".join(f"{r.label}: {name} {_share(rate)}" for r, (name, rate) in rates)
        why = f"no judge that never trains is shown to prefer a version to the base ({told})"
        return Recommendation(BASE_VERSION, BASE, why)
    share, name, round_ = max(better, key=lambda found: (found[0], found[2].round))
    why = f"{name}, which never trains, prefers it to the base in {share:.0%} of the prompts"
    return Recommendation(version_of(round_), round_.round, why)


def _judged(round_: RoundHistory) -> list[tuple[str, Interval]]:
    """Return each judge's win rate of a round's version over the base, with its interval."""
    own = [event for event in round_.measured if event.source.startswith(measured.JUDGE)]
    rates = [(event.source, interval(event.measurements[0])) for event in own]
    return [(source, rate) for source, rate in rates if rate is not None]


def _last_winner(made: Sequence[RoundHistory]) -> Recommendation | None:
    for round_ in reversed(made):
        rate = win_rate(round_)
        if rate and rate.is_enough and rate.low > _EVEN:
            why = f"it is the last that the critic prefers to the version before ({_told(round_)})"
            return Recommendation(version_of(round_), round_.round, why)
    return None


def _base(made: Sequence[RoundHistory]) -> Recommendation:
    if not made:
        return Recommendation(BASE_VERSION, BASE, "no round is finished yet")
    rates = "; ".join(f"{round_.label}: {_told(round_)}" for round_ in made)
    why = f"nothing that a run may read shows a version to be better than the one before ({rates})"
    return Recommendation(BASE_VERSION, BASE, why)


def _told(round_: RoundHistory) -> str:
    """Write a round's win rate with its interval."""
    rate = win_rate(round_)
    if rate is None:
        return "win rate not measured"
    if not rate.num_clusters:
        return f"win rate {rate.mean:.0%}, of how many prompts was not recorded"
    return f"win rate {_share(rate)}"


def _share(rate: Interval) -> str:
    prefix = "95 % interval " if rate.is_enough else ""
    return f"{rate.mean:.0%}, {prefix}{rate.ends(lambda share: f'{share:.0%}')}"
