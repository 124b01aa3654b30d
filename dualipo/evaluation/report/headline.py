"""The headline of a report: what the run shows, in plain sentences and four numbers.

Where the interval of a difference holds zero, the text says that no change is shown. It also says
whether the labels are simulated.
"""

from dataclasses import dataclass

from dualipo.amounts import duration
from dualipo.evaluation import recommended, run_history, tunings
from dualipo.evaluation.bootstrap import Interval
from dualipo.evaluation.report import findings
from dualipo.evaluation.report.charts import percent, three_decimals
from dualipo.evaluation.run_history import RoundHistory, RunHistory
from dualipo.evaluation.share import recipe
from dualipo.event_names import in_words
from dualipo.events import PreferEvent

DASH = "—"  # in place of a number that was not recorded


@dataclass(frozen=True)
class Tile:
    """One headline number: `name` above it, `note` below."""

    name: str
    value: str
    note: str


def sentences(history: RunHistory) -> list[str]:
    """Return one paragraph, as sentences, for a reader who has never seen the project."""
    if history.tuning:
        return [*tunings.sentences(history), *recipe.notes(history.settings)]
    parts = [_progress(history), recommended.recommend(history).sentence]
    parts += [_score(history), _critic(history), *findings.sentences(history), _labels(history)]
    parts += recipe.notes(history.settings)
    if history.unknown:
        parts.append(in_words(set(history.unknown)))
    return [part for part in parts if part]


def tiles(history: RunHistory) -> list[Tile]:
    """Return the four headline numbers; a number that is not there yet is a dash."""
    if history.tuning:
        return [Tile(*tile) for tile in tunings.figures(history)] + [_time_tile(history)]
    return [_score_tile(history), _critic_tile(history), _kept_tile(history), _time_tile(history)]


def signed(interval: Interval) -> str:
    """Write a difference with its interval, or that its prompts are too few for one."""
    ends = interval.ends("{:+.3f}".format)
    return f"{interval.mean:+.3f} ({'95 % interval ' if interval.is_enough else ''}{ends})"


def accuracies(history: RunHistory) -> list[tuple[str, float]]:
    """Return the critic's accuracy on oracle-ordered pairs: shipped, after warm start, and now."""
    rounds = (history.base, *history.finished_rounds)
    measured = [pair for round_ in rounds for pair in round_.accuracies()]
    shown = [(label, accuracy.forced_choice or 0.0) for label, accuracy in measured]
    ends = [pair for pair in shown if pair[0] in ("shipped", "warm start")]
    return ends + [pair for pair in shown[-1:] if pair not in ends]


def holdouts(history: RunHistory) -> list[tuple[str, float]]:
    """Return the critic's accuracy on held-out labels: the first one measured, and the newest."""
    rounds = [("warm start", history.base)] + [(r.label, r) for r in history.finished_rounds]
    shares = [(label, share) for label, r in rounds if (share := r.holdout()) is not None]
    return [shares[0], shares[-1]] if len(shares) > 1 else shares


def _ends(history: RunHistory) -> tuple[RoundHistory, RoundHistory] | None:
    scored = history.scored()
    return (scored[0], scored[-1]) if len(scored) > 1 else None


def _progress(history: RunHistory) -> str:
    done, asked = len(history.finished_rounds), history.settings.get("rounds", 0)
    if history.is_finished:
        early = " (it stopped early)" if done < asked else ""
        return f"The run is finished: {done} of {asked} rounds{early}."
    return f"The run is not finished: {done} of {asked} rounds are done so far."


def _score(history: RunHistory) -> str:
    ends = _ends(history)
    change = run_history.difference(*ends) if ends else None
    if history.has_own_captions:
        return (
            "No program can score clips of your own captions: people see the test clips in the "
            "gallery and can compare them with `dualipo study`."
        )
    if not ends or not change:
        return "The test scores of the base model and of a first round are not measured yet."
    first, last = (end.score("total") for end in ends)
    assert first and last
    verb = "rose" if change.mean > 0 else "fell"
    fact = (
        f"The mean score of the generator's clips on {last.num_clusters} test prompts {verb} from "
        f"{three_decimals(first.mean)} ({ends[0].label}) to {three_decimals(last.mean)} "
        f"({ends[1].label}). The paired difference is {signed(change)}."
    )
    if not change.is_enough:
        return f"{fact} No change is shown."
    return (
        fact if change.excludes_zero else f"{fact} The interval holds zero, so no change is shown."
    )


def _critic(history: RunHistory) -> str:
    facts = []
    if shares := accuracies(history):
        facts.append(
            f"The critic picks the better clip of a pair in {_steps(shares)} of the cases."
        )
    if shares := holdouts(history):
        subject = "It" if facts else "The critic"
        facts.append(
            f"{subject} agrees with labels held out from its training in {_steps(shares)}."
        )
    if not facts:
        return "The critic's accuracy is not measured yet."
    return " ".join(facts)


def _steps(shares: list[tuple[str, float]]) -> str:
    return ", then ".join(f"{percent(share)} ({label})" for label, share in shares)


def _labels(history: RunHistory) -> str:
    if history.labels_are_simulated:
        return (
            "All labels come from simulated annotators, not from people. A program measures the "
            "score and only reports it: nothing in the run is trained, triggered, stopped or "
            "selected by it."
        )
    people = "People made the seed's labels, which were imported."
    if history.has_own_captions:
        return people
    return (
        f"{people} The audit's labels are simulated, and a program measures the score and only "
        "reports it."
    )


def _score_tile(history: RunHistory) -> Tile:
    ends = _ends(history)
    change = run_history.difference(*ends) if ends else None
    if not ends or not change:
        return Tile(
            "Test score", DASH, "ask people" if history.has_own_captions else "not measured yet"
        )
    means = [three_decimals(score.mean) for end in ends if (score := end.score("total"))]
    return Tile("Test score, base to last round", " → ".join(means), signed(change))


def _critic_tile(history: RunHistory) -> Tile:
    shares, name = accuracies(history), "Critic picks the better clip"
    if not shares:
        shares, name = holdouts(history), "Critic agrees with held-out labels"
    if not shares:
        return Tile(name, DASH, "not measured yet")
    values = " → ".join(f"{100 * share:.1f}" for _, share in shares)
    return Tile(name, f"{values} %", " → ".join(label for label, _ in shares))


def _kept_tile(history: RunHistory) -> Tile:
    built = [event for r in history.rounds if (event := r.event(PreferEvent))]
    name = "Prompts that gave a preference"
    if built and built[0].of == "clips":
        name = "Clips that were labelled"
    if not built:
        return Tile(name, DASH, "none built yet")
    kept, asked = sum(prefer.kept for prefer in built), sum(prefer.num_prompts for prefer in built)
    return Tile(name, f"{kept} of {asked}", "in all rounds; the rest was dropped")


def _time_tile(history: RunHistory) -> Tile:
    clocks = [clock for r in history.all_rounds for clock in r.clocks.values()]
    if not clocks:
        return Tile("Time", DASH, "not recorded yet")
    peak_mb = max(clock.peak_mb for clock in clocks)
    seconds = sum(clock.seconds for clock in clocks)
    return Tile("Time of all stages", duration(seconds), f"peak memory {peak_mb:,.0f} MB")
