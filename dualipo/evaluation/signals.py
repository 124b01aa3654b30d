"""The rules for refreshing the critic and for stopping: METHOD.md 5 as pure functions.

A history holds the `Signals` of every finished round in order, the newest last; the same history
always gives the same answer. Reasons are sentences for the log, with the numbers behind them; an
empty list means no.

Scores of the embedded world's oracle must never be among the signals: they are for people only.
`evaluation_total` is that of a suite, in points of 100: of VBench, or of the embedded world's own,
which never asks the oracle. Left out: forced rounds and ablations, which `rounds/` decides, and an
audit accuracy that sinks by less than the limit in every round.
"""

from collections.abc import Sequence

import numpy as np

from dualipo.config import Refresh
from dualipo.event_parts import Signals

_EVEN = 0.5  # the win rate above which the critic prefers the new generator


def refresh_triggers(history: Sequence[Signals], settings: Refresh) -> list[str]:
    """Return the reasons to refresh the critic now; none means that it may stay."""
    if not history:
        return []
    reasons = [
        _audit_fell(history, settings),
        _evaluation_fell_twice(history, settings),
        _votes_disagree(history[-1], settings),
        _over_optimised(history[-1], settings),
        _motion_fell(history[-1], settings),
        _hacked(history) if hacking_alarm(history) else None,
    ]
    return [reason for reason in reasons if reason]


def stop_reasons(history: Sequence[Signals], settings: Refresh) -> list[str]:
    """Return the reasons to end the rounds here.

    After a second hacking alarm, the round to keep is `best_round(history)`.
    """
    if not history:
        return []
    reasons = [
        _wins_too_rarely(history[-1], settings),
        _gains_too_little(history, settings),
        _motion_fell(history[-1], settings),
        _hacked_again(history) if hacking_alarm(history) >= 2 else None,
    ]
    return [reason for reason in reasons if reason]


def hacking_alarm(history: Sequence[Signals]) -> int:
    """Count the newest rounds in a row whose critic score rose while the evaluation fell.

    That is reward hacking (fault 65). After one such round the critic is refreshed; after two the
    run stops and keeps its best round.
    """
    num_rounds = 0
    for before, now in zip(history[-2::-1], history[:0:-1], strict=True):
        if _fall(before, now) is None or now.win_rate is None or now.win_rate <= _EVEN:
            break
        num_rounds += 1
    return num_rounds


def best_round(history: Sequence[Signals]) -> int:
    """Return the index of the round to keep: the best evaluation, or the last before an alarm."""
    assert history, "no round has been measured"
    totals = [signals.evaluation_total for signals in history]
    measured = [total for total in totals if total is not None]
    if measured:
        return totals.index(max(measured))
    return len(history) - 1 - hacking_alarm(history)


def trend(values: Sequence[float]) -> float:
    """Return the least-squares slope of `values` per step, or 0 for fewer than two."""
    if len(values) < 2:
        return 0.0
    steps_S = np.arange(len(values)) - (len(values) - 1) / 2
    return float(steps_S @ np.asarray(values, np.float64) / (steps_S @ steps_S))


def _fall(before: Signals, now: Signals) -> str | None:
    """Say how the evaluation fell, or return None if it did not.

    Without a test suite, the held-out accuracy stands for the evaluation.
    """
    if before.evaluation_total is not None and now.evaluation_total is not None:
        if now.evaluation_total < before.evaluation_total:
            return f"evaluation {before.evaluation_total:.2f} -> {now.evaluation_total:.2f}"
        return None
    if before.holdout_accuracy is None or now.holdout_accuracy is None:
        return None
    if now.holdout_accuracy < before.holdout_accuracy:
        return f"held-out accuracy {before.holdout_accuracy:.3f} -> {now.holdout_accuracy:.3f}"
    return None


def _hacked(history: Sequence[Signals]) -> str:
    before, now = history[-2:]
    return (
        f"the critic prefers the new clips (win rate {now.win_rate:.3f}) while the evaluation "
        f"falls ({_fall(before, now)})"
    )


def _hacked_again(history: Sequence[Signals]) -> str:
    return f"{_hacked(history)}, {hacking_alarm(history)} rounds in a row"


def _audit_fell(history: Sequence[Signals], settings: Refresh) -> str | None:
    if len(history) < 2:
        return None
    before, now = history[-2].audit_accuracy, history[-1].audit_accuracy
    if before is None or now is None or before - now <= settings.max_audit_drop:
        return None
    return (
        f"audit accuracy fell from {before:.3f} to {now:.3f}, by more than "
        f"{settings.max_audit_drop:g}"
    )


def _evaluation_fell_twice(history: Sequence[Signals], settings: Refresh) -> str | None:
    measured = [signals.evaluation_total for signals in history]
    totals = [total for total in measured if total is not None]
    limit = settings.max_evaluation_drop
    if len(totals) < 3 or history[-1].evaluation_total is None:
        return None
    if max(totals[:-1]) - totals[-2] <= limit or max(totals) - totals[-1] <= limit:
        return None
    return (
        f"evaluation total {totals[-2]:.2f}, then {totals[-1]:.2f}: twice more than {limit:g} "
        f"under the best, {max(totals):.2f}"
    )


def _votes_disagree(now: Signals, settings: Refresh) -> str | None:
    if now.mean_vote_share is None or now.mean_vote_share >= settings.min_vote_share:
        return None
    return f"mean vote share {now.mean_vote_share:.3f} is under {settings.min_vote_share:g}"


def _over_optimised(now: Signals, settings: Refresh) -> str | None:
    if now.implicit_accuracy is None or now.implicit_accuracy <= settings.max_implicit_accuracy:
        return None
    if now.winner_gap_trend is None or now.winner_gap_trend <= 0:
        return None
    return (
        f"implicit accuracy {now.implicit_accuracy:.3f} is over {settings.max_implicit_accuracy:g} "
        f"and the winner gap rises ({now.winner_gap_trend:+.2g} a step)"
    )


def _motion_fell(now: Signals, settings: Refresh) -> str | None:
    drop, limit = now.dynamics_drop, settings.max_dynamics_drop
    if drop is None or limit is None or drop <= limit:
        return None
    return f"the clips' dynamic degree is {drop:.0%} under the base's, by more than {limit:.0%}"


def _wins_too_rarely(now: Signals, settings: Refresh) -> str | None:
    if now.win_rate is None or now.win_rate >= settings.stop_win_rate:
        return None
    return (
        f"win rate against the round before {now.win_rate:.3f} is under {settings.stop_win_rate:g}"
    )


def _gains_too_little(history: Sequence[Signals], settings: Refresh) -> str | None:
    if len(history) < 2:
        return None
    before, now = history[-2].evaluation_total, history[-1].evaluation_total
    if before is None or now is None or now - before >= settings.stop_gain:
        return None
    return (
        f"evaluation total gained {now - before:+.2f} ({before:.2f} -> {now:.2f}), under "
        f"{settings.stop_gain:g}"
    )
