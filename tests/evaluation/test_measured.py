"""Measurements of versions: which of several counts, and what the triggers may read."""

from dualipo.evaluation import measured
from dualipo.event_parts import Measurement
from dualipo.events import MeasuredEvent


def _total(source: str, version: str, value: float | None) -> MeasuredEvent:
    total = Measurement(name=measured.TOTAL, value=value, num_prompts=16)
    return MeasuredEvent(source=source, version=version, measurements=[total], alarms=[])


def test_the_newest_total_of_a_suite_counts_and_never_the_oracles() -> None:
    events = [
        _total(measured.VBENCH, "g000.0", 80.0),
        _total(measured.VBENCH, "g001.0", 70.0),
        _total(measured.VBENCH, "g000.0", 81.0),
        _total(measured.ORACLE, "g000.0", 99.0),
    ]
    assert measured.evaluation_total(events, "g000.0") == 81.0
    assert measured.evaluation_total(events, "g001.0") == 70.0
    assert measured.evaluation_total(events, "base") is None
    assert len(measured.newest(events)) == 3


def test_figures_are_numbers_of_versions_and_judges_win_rates() -> None:
    win = Measurement(name="win rate", value=0.6, num_prompts=16, against="base")
    of_motion = Measurement(name="win rate", value=0.7, num_prompts=16, dimension="motion")
    change = Measurement(name="dynamic degree", value=-0.1, num_prompts=16, against="base")
    own = Measurement(name="dynamic degree", value=0.4, num_prompts=16)
    made = [
        MeasuredEvent(source=source, version="g000.0", measurements=parts, alarms=[])
        for source, parts in (("judge:j", [win, of_motion]), ("pixels", [own, change]))
    ]
    assert measured.figures(made) == {"win rate (judge:j)": 0.6, "dynamic degree (pixels)": 0.4}


def test_a_total_that_could_not_be_measured_is_no_zero() -> None:
    assert measured.evaluation_total([_total(measured.VBENCH, "base", None)], "base") is None
