"""Scripted tables of signals against METHOD.md 5: what refreshes, what stops, what is kept."""

from dualipo.config import Refresh
from dualipo.evaluation.signals import (
    Signals,
    best_round,
    hacking_alarm,
    refresh_triggers,
    stop_reasons,
    trend,
)

SETTINGS = Refresh()
CALM = Signals(
    holdout_accuracy=0.8,
    audit_accuracy=0.8,
    win_rate=0.6,
    mean_vote_share=0.85,
    implicit_accuracy=0.7,
    winner_gap_trend=-0.01,
)


def _with(**changes: float) -> Signals:
    return Signals(**{name: getattr(CALM, name) for name in CALM.__slots__} | changes)


def test_calm_rounds_and_an_empty_history_ask_for_nothing() -> None:
    for history in ([], [CALM], [CALM, CALM], [Signals(), Signals()]):
        assert refresh_triggers(history, SETTINGS) == []
        assert stop_reasons(history, SETTINGS) == []


def test_an_audit_that_falls_by_more_than_three_points_triggers() -> None:
    [reason] = refresh_triggers([CALM, _with(audit_accuracy=0.75)], SETTINGS)
    assert reason == "audit accuracy fell from 0.800 to 0.750, by more than 0.03"
    assert refresh_triggers([CALM, _with(audit_accuracy=0.78)], SETTINGS) == []


def test_the_evaluation_must_be_under_the_best_twice() -> None:
    totals = (82.0, 81.6, 81.6)
    history = [_with(evaluation_total=total, win_rate=0.5) for total in totals]
    assert refresh_triggers(history[:2], SETTINGS) == []
    [reason] = refresh_triggers(history, SETTINGS)
    assert "81.60, then 81.60" in reason and "under the best, 82.00" in reason
    recovered = [*history[:2], _with(evaluation_total=81.8)]
    assert refresh_triggers(recovered, SETTINGS) == []


def test_a_fall_of_motion_triggers_and_stops_where_the_recipe_sets_a_limit() -> None:
    fallen = [_with(dynamics_drop=0.3)]
    assert refresh_triggers(fallen, SETTINGS) == [] == stop_reasons(fallen, SETTINGS)
    limited = Refresh(max_dynamics_drop=0.2)
    [reason] = refresh_triggers(fallen, limited)
    assert "30% under the base's, by more than 20%" in reason
    assert stop_reasons(fallen, limited) == [reason]
    assert refresh_triggers([_with(dynamics_drop=0.1)], limited) == []


def test_disagreeing_votes_trigger() -> None:
    [reason] = refresh_triggers([_with(mean_vote_share=0.65)], SETTINGS)
    assert reason == "mean vote share 0.650 is under 0.7"


def test_high_implicit_accuracy_triggers_only_with_a_rising_winner_gap() -> None:
    assert refresh_triggers([_with(implicit_accuracy=0.97)], SETTINGS) == []
    rising = _with(implicit_accuracy=0.97, winner_gap_trend=0.02)
    [reason] = refresh_triggers([rising], SETTINGS)
    assert "0.970 is over 0.95" in reason and "+0.02 a step" in reason


def test_stopping_on_win_rate_and_on_gain() -> None:
    [reason] = stop_reasons([_with(win_rate=0.51)], SETTINGS)
    assert reason == "win rate against the round before 0.510 is under 0.52"
    gains = [_with(evaluation_total=total) for total in (82.0, 82.05)]
    [reason] = stop_reasons(gains, SETTINGS)
    assert "gained +0.05" in reason
    assert stop_reasons([gains[0], _with(evaluation_total=82.2)], SETTINGS) == []


def test_fault_65_once_refreshes_and_twice_in_a_row_stops_and_keeps_the_best_round() -> None:
    totals = (82.0, 81.9, 81.85)
    table = [_with(evaluation_total=total) for total in totals]
    assert [hacking_alarm(table[:end]) for end in (1, 2, 3)] == [0, 1, 2]
    [trigger] = refresh_triggers(table[:2], SETTINGS)
    assert "win rate 0.600" in trigger and "82.00 -> 81.90" in trigger
    assert not any("in a row" in reason for reason in stop_reasons(table[:2], SETTINGS))
    assert any("2 rounds in a row" in reason for reason in stop_reasons(table, SETTINGS))
    assert best_round(table) == 0


def test_fault_65_held_out_accuracy_stands_in_where_there_is_no_suite() -> None:
    table = [_with(holdout_accuracy=accuracy) for accuracy in (0.80, 0.82, 0.79, 0.78)]
    assert [hacking_alarm(table[:end]) for end in (2, 3, 4)] == [0, 1, 2]
    [reason] = stop_reasons(table, SETTINGS)
    assert "held-out accuracy 0.790 -> 0.780" in reason
    assert best_round(table) == 1


def test_fault_65_a_round_between_that_does_not_fall_resets_the_alarm() -> None:
    totals = (82.0, 81.9, 82.2, 82.1)
    table = [_with(evaluation_total=total) for total in totals]
    assert hacking_alarm(table) == 1
    assert best_round(table) == 2


def test_fault_65_both_falling_together_is_no_hacking() -> None:
    table = [CALM, _with(holdout_accuracy=0.7, win_rate=0.4)]
    assert hacking_alarm(table) == 0


def test_the_trend_is_the_slope_per_step() -> None:
    assert abs(trend([0.1, 0.3, 0.5, 0.7]) - 0.2) < 1e-12
    assert trend([1.0]) == 0.0
