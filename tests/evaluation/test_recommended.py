"""The recommended version follows the evaluation, else a win rate that is shown, else the base."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dualipo.cli.main import main
from dualipo.evaluation import judgements, run_history, summary
from dualipo.evaluation.recommended import recommend, win_rate
from dualipo.evaluation.report import headline
from dualipo.evaluation.run_history import RoundHistory, RunHistory
from dualipo.evaluation.share import model_card
from dualipo.event_parts import Measurement, Signals
from dualipo.events import AlignEvent, KeepBestEvent, MeasuredEvent, MonitorEvent, ScoresEvent
from dualipo.records import DIMENSIONS, Verdict
from dualipo.store.run_reader import RunReader

TOTALS = (81.0, 80.0)  # of the base, of round 0
RunMaker = Callable[..., Path]


def a_run(*signals: Signals, kept: int | None = None) -> RunHistory:
    """Make the history of a run with a finished round for each of `signals`."""
    rounds = []
    for number, measured in enumerate(signals):
        version = f"g{number:03d}.0"
        events: list[Any] = [
            AlignEvent(num_steps=1, generator_version=version, critic_version="warm"),
            MonitorEvent(signals=measured, triggers=[], stop=[], winner_gap=None),
        ]
        if kept is not None and number == len(signals) - 1:
            events.append(KeepBestEvent(round=kept, generator_version=f"g{kept:03d}.0"))
        rounds.append(RoundHistory(number, events=events))
    return RunHistory("run", {"rounds": 9}, RoundHistory(-1), rounds)


def wins(share: float, num: int | None) -> Signals:
    return Signals(win_rate=share, num_win_rate_prompts=num)


WON, EVEN, FEW, OLD = wins(0.8, 40), wins(0.55, 40), wins(1.0, 9), wins(0.9, None)


@pytest.mark.parametrize(
    ("signals", "version", "why"),
    [
        ([WON, EVEN], "g000.0", "win rate 80%, 95 % interval 65% to 90%"),
        ([WON, EVEN, WON, FEW], "g002.0", "the last that the critic prefers"),
        ([EVEN, FEW], "base", "round 1: win rate 100%, 9 prompts: too few to say"),
        ([OLD], "base", "of how many prompts was not recorded"),
        ([Signals()], "base", "win rate not measured"),
        ([], "base", "no round is finished yet"),
    ],
)
def test_the_last_version_with_a_shown_win_is_recommended_else_the_base(
    signals: list[Signals], version: str, why: str
) -> None:
    choice = recommend(a_run(*signals))
    assert choice.version_id == version and why in choice.sentence
    assert choice.is_base == (version == "base")


def test_an_evaluation_decides_against_the_critic_s_wins() -> None:
    totals = [80.0, 81.5, 79.0]
    measured = [Signals(win_rate=0.9, num_win_rate_prompts=99, evaluation_total=t) for t in totals]
    choice = recommend(a_run(*measured))
    assert choice.version_id == "g001.0"
    assert choice.why == "its evaluation total is the highest, 81.50 (round 0 80.00, round 2 79.00)"
    assert recommend(a_run(*measured[::2])).version_id == "g000.0"


def test_rounds_after_the_kept_one_are_not_recommended() -> None:
    assert recommend(a_run(WON, WON, WON, kept=0)).version_id == "g000.0"


def test_a_win_rate_s_interval_is_wilson_s_over_prompts() -> None:
    rate = win_rate(a_run(wins(0.5, 100)).rounds[0])
    assert rate is not None
    assert (rate.low, rate.high) == pytest.approx((0.4038, 0.5962), abs=1e-4)


def test_scores_of_the_oracle_recommend_nothing() -> None:
    history = a_run(EVEN)
    scores = {"prompt_ids": ["a", "b"], "captions": ["", ""], "parts": {}}
    better = ScoresEvent(**scores, total=[1.0, 1.0])
    rounds = [RoundHistory(0, events=[*history.rounds[0].events, better])]
    worse = RoundHistory(-1, events=[ScoresEvent(**scores, total=[0.0, 0.0])])
    assert recommend(RunHistory("run", history.settings, worse, rounds)).is_base


def test_status_report_and_card_name_it(make_run: RunMaker) -> None:
    path = make_run()
    history = run_history.read(RunReader(path))
    sentence = recommend(history).sentence
    assert sentence.startswith("Recommended version: g2, because it is the last that the critic")
    assert sentence in headline.sentences(history)
    assert sentence in summary.table(path).splitlines()
    assert summary.as_dict(path)["recommended"]["version"] == "g2"
    assert "- Recommended: yes, because it is the last" in model_card.render(path, "g2")
    assert "- Recommended: no; the run recommends `g2`" in model_card.render(path, "g1")


def test_what_is_not_shown_to_be_better_is_exported_by_name_only(
    make_run: RunMaker, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = make_run(num_rounds=0)
    assert main(["push", "model", str(path), "a/b", "--dry-run"]) == 2
    told = capsys.readouterr().err
    assert "the base model is recommended, because no round is finished yet" in told


def _judged(number: int, verdict: Verdict, num: int = 20) -> MeasuredEvent:
    verdicts = {f"p{n}": {d: [verdict] for d in DIMENSIONS} for n in range(num)}
    return judgements.of_verdicts("j", f"g{number:03d}.0", "base", verdicts)


@pytest.mark.parametrize(
    ("verdicts", "version", "why"),
    [
        ("ab", "g000.0", "judge:j, which never trains, prefers it to the base in 100% of"),
        (("tie", "tie"), "base", "no judge that never trains is shown to prefer a version"),
    ],
)
def test_judges_that_never_train_go_before_the_critic_that_trained(
    verdicts: Sequence[Verdict], version: str, why: str
) -> None:
    history = a_run(EVEN, WON)
    judged = [
        replace(round_, measured=[_judged(round_.round, verdict)])
        for round_, verdict in zip(history.rounds, verdicts, strict=True)
    ]
    choice = recommend(replace(history, rounds=judged))
    assert choice.version_id == version and why in choice.sentence


def _suite(version: str, total: float | None) -> MeasuredEvent:
    number = Measurement(name="total", value=total, num_prompts=9)
    return MeasuredEvent(source="vbench", version=version, measurements=[number], alarms=[])


def test_a_base_whose_total_is_the_highest_is_recommended() -> None:
    history = a_run(WON)
    measured = [_suite(*total) for total in zip(("base", "g000.0"), TOTALS, strict=True)]
    base = replace(history.base, measured=measured[:1])
    made = [replace(history.rounds[0], measured=measured[1:])]
    choice = recommend(replace(history, base=base, rounds=made))
    assert choice.is_base and "its evaluation total is the highest, 81.00" in choice.why


def test_a_suite_that_failed_after_the_base_recommends_nothing() -> None:
    """A base that alone has a total is not the best of anything."""
    history = a_run(WON, EVEN)
    base = replace(history.base, measured=[_suite("base", 81.0)])
    gap = [replace(round_, measured=[_suite("g000.0", None)]) for round_ in history.rounds]
    assert recommend(replace(history, base=base, rounds=gap)).version_id == "g000.0"
    half = [replace(gap[0], measured=[_suite("g000.0", 80.0)]), gap[1]]
    choice = recommend(replace(history, base=base, rounds=half))
    assert choice.is_base and "81.00 (round 0 80.00, round 1 not measured)" in choice.why


@pytest.mark.parametrize(("low", "num", "said"), [(-1.0, 40, "-1.00 to +3.00"), (0.5, 5, "5 prom")])
def test_a_highest_total_whose_gain_is_not_shown_says_so(low: float, num: int, said: str) -> None:
    [made] = a_run(Signals(evaluation_total=82.0)).rounds
    change = {"name": "total", "value": 1.0, "high": 3.0, "against": "base"}
    suite = _suite("g000.0", 82.0)
    for lowest, prompts, doubt in ((low, num, f"is not shown ({said}"), (0.5, 40, "")):
        gain = Measurement(low=lowest, num_prompts=prompts, **change)  # type: ignore[arg-type]
        event = replace(suite, measurements=[*suite.measurements, gain])
        history = replace(a_run(EVEN), rounds=[replace(made, measured=[event])])
        why = recommend(history).why
        assert doubt in why and ("not shown" in why) == bool(doubt)
