"""The report's first lines: what the run shows, in plain words and four numbers.

A difference whose interval holds zero is said to show nothing; simulated labels are called so.
"""

from dataclasses import dataclass

from dualipo.amounts import duration
from dualipo.evaluation import run_history
from dualipo.evaluation.bootstrap import Interval
from dualipo.evaluation.report.charts import percent, three_decimals
from dualipo.evaluation.run_history import RoundHistory, RunHistory
from dualipo.evaluation.share import recipe
from dualipo.events import PreferEvent, RefreshEvent, in_words

DASH = "—"  # what stands for a number that was not recorded


@dataclass(frozen=True)
class Tile:
    """One headline number: `name` above it, `note` below."""

    name: str
    value: str
    note: str


def sentences(history: RunHistory) -> list[str]:
    """One paragraph for someone who has never seen the project."""
    said = [_progress(history), _score(history), _critic(history), _labels(history)]
    said += recipe.notes(history.config)
    if history.unknown:
        said.append(in_words(set(history.unknown)))
    return [sentence for sentence in said if sentence]


def tiles(history: RunHistory) -> list[Tile]:
    """What a reader should take away; a number that is not there yet is a dash."""
    return [_score_tile(history), _critic_tile(history), _kept_tile(history), _time_tile(history)]


def signed(interval: Interval) -> str:
    """A difference with its interval."""
    return f"{interval.mean:+.3f} (95 % interval {interval.low:+.3f} to {interval.high:+.3f})"


def accuracies(history: RunHistory) -> list[tuple[str, float]]:
    """The critic on pairs that the oracle orders: shipped, after its warm start, and now."""
    found = [pair for one in (history.base, *history.finished_rounds) for pair in one.accuracies()]
    shown = [(label, accuracy.forced_choice or 0.0) for label, accuracy in found]
    ends = [pair for pair in shown if pair[0] in ("shipped", "warm start")]
    return ends + [pair for pair in shown[-1:] if pair not in ends]


def holdouts(history: RunHistory) -> list[tuple[str, float]]:
    """The critic on labels held out from its training: at first, and now."""
    measured = [(one.label, one.holdout()) for one in (history.base, *history.finished_rounds)]
    found = [("warm start" if at == "base" else at, x) for at, x in measured if x is not None]
    return [found[0], found[-1]] if len(found) > 1 else found


def _ends(history: RunHistory) -> tuple[RoundHistory, RoundHistory] | None:
    scored = history.scored()
    return (scored[0], scored[-1]) if len(scored) > 1 else None


def _progress(history: RunHistory) -> str:
    done, asked = len(history.finished_rounds), history.config.get("rounds", 0)
    if history.is_finished:
        early = " (it stopped early)" if done < asked else ""
        return f"The run is finished: {done} of {asked} rounds{early}."
    return f"The run is not finished: {done} of {asked} rounds are done; this is what is there."


def _score(history: RunHistory) -> str:
    ends = _ends(history)
    change = run_history.difference(*ends) if ends else None
    if not ends or not change:
        return "Test scores of the base model and of a round are not there yet."
    first, last = (end.score("total") for end in ends)
    assert first and last
    verb = "rose" if change.mean > 0 else "fell"
    fact = (
        f"The mean score of the generator's clips on {last.num_clusters} test prompts {verb} from "
        f"{three_decimals(first.mean)} ({ends[0].label}) to {three_decimals(last.mean)} "
        f"({ends[1].label}): paired difference {signed(change)}."
    )
    return fact if change.excludes_zero else f"{fact} The interval holds zero: no change is shown."


def _critic(history: RunHistory) -> str:
    said = []
    if found := accuracies(history):
        said.append(f"The critic picks the better clip of a pair in {_steps(found)}.")
    if held := holdouts(history):
        said.append(f"It agrees with labels held out from its training in {_steps(held)}.")
    if not said:
        return "The critic's accuracy is not there yet."
    refreshed = [one.label for one in history.rounds if _outcome(one) == "refreshed"]
    if refreshed:
        said.append(f"It was refreshed in {' and '.join(refreshed)}.")
    return " ".join(said)


def _steps(found: list[tuple[str, float]]) -> str:
    return ", ".join(f"{percent(share)} ({when})" for when, share in found)


def _labels(history: RunHistory) -> str:
    if history.labels_are_simulated:
        return (
            "All labels come from simulated annotators, not from people. The score is measured "
            "by a program that only reports: nothing in the run is trained, triggered, stopped or "
            "selected by it."
        )
    return (
        "People made the seed's labels, which were imported. The audit's labels are simulated, and "
        "the score is measured by a program that only reports."
    )


def _score_tile(history: RunHistory) -> Tile:
    ends = _ends(history)
    change = run_history.difference(*ends) if ends else None
    if not ends or not change:
        return Tile("Test score", DASH, "not measured yet")
    means = [three_decimals(score.mean) for end in ends if (score := end.score("total"))]
    return Tile("Test score, base to last round", " → ".join(means), signed(change))


def _critic_tile(history: RunHistory) -> Tile:
    found, name = accuracies(history), "Critic picks the better clip"
    if not found:
        found, name = holdouts(history), "Critic agrees with held-out labels"
    if not found:
        return Tile(name, DASH, "not measured yet")
    values = " → ".join(f"{100 * share:.1f}" for _, share in found)
    return Tile(name, f"{values} %", " → ".join(when for when, _ in found))


def _kept_tile(history: RunHistory) -> Tile:
    built = [event for one in history.rounds if (event := one.event(PreferEvent))]
    name = "Prompts that gave a preference"
    if built and built[0].of == "clips":
        name = "Clips that were labelled"
    if not built:
        return Tile(name, DASH, "none built yet")
    kept, asked = sum(one.kept for one in built), sum(one.num_prompts for one in built)
    return Tile(name, f"{kept} of {asked}", "over all rounds; the rest was dropped and counted")


def _time_tile(history: RunHistory) -> Tile:
    clocks = [clock for one in (history.base, *history.rounds) for clock in one.clocks.values()]
    if not clocks:
        return Tile("Time", DASH, "not recorded yet")
    peak_mb = max(clock.peak_mb for clock in clocks)
    seconds = sum(clock.seconds for clock in clocks)
    return Tile("Time, all stages", duration(seconds), f"peak memory {peak_mb:,.0f} MB")


def _outcome(one: RoundHistory) -> str:
    refresh = one.event(RefreshEvent)
    return refresh.outcome if refresh else ""
