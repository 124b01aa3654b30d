"""The tables of judges and pixels: by dimension, against base and the version before, with ends."""

from dualipo.evaluation import clip_changes, judgements, measured, pixels
from dualipo.evaluation.report import monitors
from dualipo.evaluation.report.headline import DASH
from dualipo.evaluation.run_history import BASE, RoundHistory, RunHistory
from dualipo.events import MeasuredEvent
from dualipo.records import DIMENSIONS, Verdict

PROMPTS = [f"p{n}" for n in range(12)]


def _judge(version: str, verdict: Verdict) -> MeasuredEvent:
    verdicts = {prompt: {d: [verdict] for d in DIMENSIONS} for prompt in PROMPTS}
    return judgements.of_verdicts("far", version, "base", verdicts)


def _pixels(version: str, motion: float, *others: MeasuredEvent) -> MeasuredEvent:
    values = {pixels.DYNAMICS: {prompt: [motion] for prompt in PROMPTS}}
    return clip_changes.of_version(version, values, others=others)


def _history() -> RunHistory:
    base = _pixels("base", 1.0)
    first = _pixels("g000.0", 0.5, base)
    second = _pixels("g001.0", 0.75, base, first)
    down = judgements.not_measured("far", "g001.0", "base", "no answer")
    rounds = [
        RoundHistory(0, measured=[first, _judge("g000.0", "b")]),
        RoundHistory(1, measured=[second, down]),
    ]
    return RunHistory("demo", {}, RoundHistory(BASE, measured=[base]), rounds)


def test_a_judge_has_wins_ties_and_losses_by_dimension_and_says_why_it_has_none() -> None:
    table = monitors.judges(_history().all_rounds)
    assert table.head[3:-1] == [*DIMENSIONS]
    lost = "0 %\n0 % to 0 %\n0 / 0 / 100"
    assert table.rows[0] == ["round 0", "judge:far", lost, lost, lost, lost, "12"]
    assert table.rows[1][2:4] == ["not measured: no answer", DASH]


def test_pixels_are_compared_with_the_base_and_with_the_version_before() -> None:
    section = monitors.section(_history())
    assert [heading for heading, _, _ in section.charts] == [
        "Won against the base, by far", "Motion (dynamic degree)"
    ]  # fmt: skip
    table = section.tables[1]
    at = table.head.index(pixels.DYNAMICS)
    assert [(row[0], row[1], row[at].split("\n")[0]) for row in table.rows] == [
        ("base", measured.PIXELS, "1"),
        ("round 0", measured.PIXELS, "0.5"),
        ("round 0", "change against base", "-50.0 %"),
        ("round 1", measured.PIXELS, "0.75"),
        ("round 1", "change against base", "-25.0 %"),
        ("round 1", "change against g000.0", "+50.0 %"),
    ]
    text = monitors.in_markdown(_history().all_rounds)
    assert "| round 0 | judge:far | 0 %, 0 % to 0 %, 0 / 0 / 100 |" in text
    assert monitors.section(RunHistory("demo", {}, RoundHistory(BASE), [])).tables == []
