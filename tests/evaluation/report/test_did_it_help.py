"""The headline's answer: who is evidence, what an interval shows, what is unknown, what alarms."""

from collections.abc import Sequence
from dataclasses import replace

import pytest

from dualipo.evaluation import clip_changes, judgements, pixels
from dualipo.evaluation.report import did_it_help
from dualipo.evaluation.report.did_it_help import Answer
from dualipo.evaluation.run_history import BASE, RoundHistory, RunHistory
from dualipo.event_parts import Measurement, Signals
from dualipo.events import AlignEvent, MeasuredEvent, MonitorEvent, TuneEvent
from dualipo.records import DIMENSIONS, Verdict

VERSION = "g000.0"


def _judge(name: str, verdict: Verdict, num: int = 20) -> MeasuredEvent:
    verdicts = {f"p{n}": {d: [verdict] for d in DIMENSIONS} for n in range(num)}
    return judgements.of_verdicts(name, VERSION, "base", verdicts)


def _pixels(version: str, level: float, others: Sequence[MeasuredEvent] = ()) -> MeasuredEvent:
    values = {pixels.DYNAMICS: {f"p{n}": [level * (1 + n)] for n in range(20)}}
    return clip_changes.of_version(version, values, others=others)


def _answer(*events: MeasuredEvent, base: Sequence[MeasuredEvent] = (), **signals: float) -> Answer:
    align = AlignEvent(num_steps=1, generator_version=VERSION, critic_version="warm")
    heard = MonitorEvent(signals=Signals(**signals), triggers=[], stop=[], winner_gap=None)  # type: ignore[arg-type]
    own = RoundHistory(0, events=(align, heard), measured=events)
    return did_it_help.answer(
        RunHistory("demo", {"prompts.source": "file"}, RoundHistory(BASE, measured=base), [own])
    )


@pytest.mark.parametrize(
    ("verdicts", "words"),
    [
        ("a", "Yes: g000.0 against the base is better by judge:j0."),
        ("b", "No: g000.0 against the base is worse by judge:j0."),
        (("tie",), "It is not shown: g000.0 against the base has no clear difference by judge:j0."),
        ("ab", "disagree on g000.0 against the base: better by judge:j0, worse by judge:j1."),
    ],
)
def test_the_sentence_follows_what_the_intervals_show(
    verdicts: Sequence[Verdict], words: str
) -> None:
    events = [_judge(f"j{n}", verdict) for n, verdict in enumerate(verdicts)]
    assert words in _answer(*events).sentence


def test_few_prompts_show_nothing_and_the_critic_that_trained_is_no_evidence() -> None:
    assert "It is not shown" in _answer(_judge("few", "a", num=4)).sentence
    alone = _answer(win_rate=0.9, num_win_rate_prompts=200)
    assert "It is not known: nothing but the critic that trained" in alone.sentence
    (row,) = alone.rows
    assert row.finding == "better" and not row.is_evidence


def test_fault_61_a_judge_that_is_down_is_not_measured_and_never_a_zero() -> None:
    down = judgements.not_measured("far", VERSION, "base", "no answer from 127.0.0.1")
    (row,) = (told := _answer(down)).rows
    assert row.cells[-1] == "not measured: no answer from 127.0.0.1" and row.now == "—"
    assert "Not known: judge:far, people's own judgement" in told.sentence


def test_a_fall_of_motion_is_told_with_its_alarm() -> None:
    base = _pixels("base", 0.10)
    told = _answer(_judge("j", "a"), _pixels(VERSION, 0.05, [base]), base=[base])
    assert "Motion fell (dynamic degree 1.05 to 0.525)." in told.sentence
    assert (
        "Yes" in told.sentence and "Alarm: motion fell: dynamic degree 1.050 -> 0.525" in told.text
    )
    assert "Motion is not measured" in _answer(_judge("j", "a")).sentence


def test_a_suite_total_without_an_interval_shows_no_difference() -> None:
    totals = [
        MeasuredEvent(
            source="vbench",
            version=version,
            measurements=[Measurement(name="total", value=value, num_prompts=100)],
            alarms=[],
        )
        for version, value in (("base", 80.0), (VERSION, 82.0))
    ]
    (row,) = (told := _answer(totals[1], base=totals[:1])).rows
    assert (row.base, row.now, row.difference) == ("80.00", "82.00", "+2.00, no interval")
    assert "no clear difference by vbench" in told.sentence
    assert replace(row, finding="better").cells[-1] == "better"


def test_people_of_a_blind_study_are_evidence_whichever_side_the_base_stood_on() -> None:
    ends = {"mean": 0.2, "low": 0.1, "high": 0.35}
    counts = {"wins": 4, "ties": 0, "losses": 16, "win_rate": ends}
    study = [
        {"dimension": "motion", "a": "base", "b": VERSION, **counts},
        {"dimension": "overall", "a": "base", "b": VERSION, **counts},
        {"dimension": "overall", "a": "base", "b": "g009.0", **counts},
    ]
    align = AlignEvent(num_steps=1, generator_version=VERSION, critic_version="warm")
    heard = MonitorEvent(signals=Signals(), triggers=[], stop=[], winner_gap=None)
    own = [RoundHistory(0, events=(align, heard))]
    told = did_it_help.answer(RunHistory("demo", {}, RoundHistory(BASE), own, study=study))
    (row,) = told.rows
    assert (row.source, row.now, row.finding) == ("people", "80.0 %", "better")
    assert "better by people" in told.sentence and "people's own" not in told.sentence


def test_before_the_first_round_nothing_is_claimed() -> None:
    begun = RunHistory("demo", {}, RoundHistory(BASE), [])
    assert did_it_help.answer(begun).sentence == "Did it help? No version is finished yet."


def test_a_tuning_is_told_to_ask_people_and_not_to_set_what_it_does_not_read() -> None:
    align = AlignEvent(num_steps=1, generator_version=VERSION, critic_version="")
    tuned = TuneEvent(preferences="a.csv", sources={"human": 9}, items_hash="", captions=[])
    settings = {"prompts.source": "file", "monitor.clip_metrics": "blocks"}
    history = RunHistory(
        "demo", settings, RoundHistory(BASE, events=(tuned,)), [RoundHistory(0, events=(align,))]
    )
    told = did_it_help.answer(history).sentence
    assert "nothing compared g000.0 against the base. Ask people with `dualipo study`" in told
    assert "critic" not in told and "monitor." not in told
