"""What a reader must know before a run's numbers: reasons to stop, failed checks, what followed.

Each finding is a sentence that says the fact and its consequence. They stand in the headline of
the report and the dashboard, and above the table of `dualipo status`.
"""

from collections.abc import Sequence

from dualipo.evaluation import bootstrap
from dualipo.evaluation.report.charts import short
from dualipo.evaluation.run_history import RoundHistory, RunHistory
from dualipo.event_parts import CheckRow
from dualipo.events import AlignEvent, CriticCheckEvent, MonitorEvent, RefreshEvent

_PREFERENCE, _NLL_TERMS = "align.preference_weight", ("winner_nll_ratio", "real_nll_ratio")


def sentences(history: RunHistory) -> list[str]:
    """Return the findings of a run with rounds, the gravest first."""
    return [
        *_reasons_to_stop(history),
        *_failed_checks(history),
        *_served(history),
        *_likelihood(history),
    ]


def _reasons_to_stop(history: RunHistory) -> list[str]:
    """Say after which rounds the monitor would have stopped, and whether the run did."""
    stopped = [
        (round_, monitor.stop)
        for round_ in history.finished_rounds
        if (monitor := round_.event(MonitorEvent)) and monitor.stop
    ]
    return [
        f"After {round_.label} there was a reason to stop: {'; '.join(why)}. "
        f"{_after(history, round_)}"
        for round_, why in stopped
    ]


def _after(history: RunHistory, round_: RoundHistory) -> str:
    is_last = round_ is history.rounds[-1]
    if is_last and history.settings.get("refresh.stop_early"):
        return "The run ended there."
    if is_last and history.is_finished:
        return "It was the last round."
    return "The run went on, because refresh.stop_early is false."


def _failed_checks(history: RunHistory) -> list[str]:
    """Say which self-checks each critic failed, and whether it judged all the same."""
    judges = _judges(history)
    facts = []
    for checked in history.critic_checks:
        failed = [_failure(check) for check in checked.checks if not check.passed]
        if failed:
            followed = (
                "It judged all the same: a check reverts only a refreshed critic that misses it by "
                "more than chance."
            )
            if checked.critic_version not in judges:
                followed = "It has judged no round."
            facts.append(
                f"Critic {checked.critic_version} failed its check of {_listed(failed)}"
                f"{_on_pairs(checked.num_pairs)}. {followed}"
            )
    return facts


def _on_pairs(num: int | None) -> str:
    """Say on how many pairs a critic was checked, and what chance does with so many."""
    if not num:
        return ""
    reach = bootstrap.chance_reach(num)
    return f", on {num} held-out pairs, where chance moves a share by up to {reach:.2f}"


def _judges(history: RunHistory) -> set[str]:
    """Return the critics that judged a round or are to judge the next one."""
    first: Sequence[CriticCheckEvent] = history.critic_checks[:1]
    if history.settings.get("critic.check.on_failure") == "stop":
        first = ()  # it may have ended the run
    aligned = [event for round_ in history.rounds if (event := round_.event(AlignEvent))]
    judges = {event.critic_version for event in first} | {e.critic_version for e in aligned}
    return judges | {e.critic_version for e in _refreshes(history) if e.outcome == "refreshed"}


def _failure(check: CheckRow) -> str:
    assert check.number is not None, "a check without a number fails nobody"
    bound = "at least" if check.at_least else "at most"
    return f"{check.name} ({short(check.number)}, {bound} {check.threshold:g} is wanted)"


def _served(history: RunHistory) -> list[str]:
    """Say whether any refreshed critic served."""
    tried = [event for event in _refreshes(history) if event.outcome in ("refreshed", "reverted")]
    labels = [
        round_.label
        for round_ in history.rounds
        if (event := round_.event(RefreshEvent)) and event.outcome == "refreshed"
    ]
    if labels:
        return [f"A refreshed critic served: it was refreshed in {_listed(labels)}."]
    if tried:
        return [f"No refreshed critic served: {len(tried)} of {len(tried)} were reverted."]
    return []


def _likelihood(history: RunHistory) -> list[str]:
    """Say beside the total that its likelihood terms' part was not measured in this run."""
    settings = history.settings
    has_terms = any(settings.get(f"align.{term}") for term in _NLL_TERMS)
    if len(history.scored()) < 2 or not has_terms or settings.get(_PREFERENCE) == 0:
        return []
    return [
        "How much of the total's change the likelihood terms alone give was not measured in this "
        f"run: repeat it with {_PREFERENCE}=0."
    ]


def _refreshes(history: RunHistory) -> list[RefreshEvent]:
    return [event for round_ in history.rounds if (event := round_.event(RefreshEvent))]


def _listed(parts: Sequence[str]) -> str:
    """Join parts with commas and a last "and"."""
    return " and ".join(filter(None, [", ".join(parts[:-1]), parts[-1]]))
