"""Critic versions are checked before they judge, in a run and by hand."""

import re
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from dualipo import config
from dualipo.cli.main import main
from dualipo.critic.trust.checks import Check, Checked
from dualipo.errors import StageError
from dualipo.evaluation import bootstrap
from dualipo.events import CriticCheckEvent, RefreshEvent
from dualipo.progress import PlainProgress
from dualipo.rounds import checking
from tests.rounds import harness as harnesses
from tests.rounds.harness import Harness


def test_every_critic_that_judged_was_checked_once(harness: Harness) -> None:
    checked = harnesses.events(harness.path, CriticCheckEvent)
    refreshed = [
        e for e in harnesses.events(harness.path, RefreshEvent) if e.outcome == "refreshed"
    ]
    versions = [event.critic_version for event in checked]
    assert versions == ["warm", *[event.critic_version for event in refreshed]]
    for event in checked:
        assert {check.name for check in event.checks} >= {"parse rate", "entropy", "accuracy"}
        assert event.passed == all(check.passed for check in event.checks)
        assert event.num_pairs == harness.recipe(harness.path).critic.check.num_pairs


def test_a_critic_is_checked_by_hand_with_a_verdict_and_changes_nothing(
    harness: Harness, capsys
) -> None:
    before = harnesses.state(harness.path)
    code = main(["critic", "check", str(harness.path), "--critic", "shipped"])
    said = capsys.readouterr().out
    assert (
        said.startswith("critic shipped, on 2 held-out pairs\ncheck")
        and "caption obedience" in said
    )
    assert code == int("FAILED" in said)
    assert harnesses.state(harness.path) == before


def test_a_check_fails_newly_where_the_critic_before_passed_it_and_chance_does_not_explain_it():
    def checked(**numbers: float | None) -> Checked:
        rows = [Check(name, number, 0.5, True, "") for name, number in numbers.items()]
        return Checked(tuple(rows), (), num_pairs=96)

    numbers = {"narrow": 0.54, "far": 0.66, "failed": 0.4, "kept": 0.9, "unknown": None}
    before = checking.as_event("warm", checked(**numbers))
    after = checked(narrow=0.46, far=0.46, failed=0.2, kept=0.51, unknown=0.4)
    assert bootstrap.chance_reach(96) == pytest.approx(0.098, abs=1e-3)
    assert checking.newly_failed(before, after) == ["far", "unknown"]
    assert checking.newly_failed(before, replace(after, num_pairs=0)) == [
        "narrow",
        "far",
        "unknown",
    ]
    assert checking.newly_failed(None, after) == []


def test_a_failed_check_is_said_with_what_is_wanted(capsys) -> None:
    checks = (
        Check("accuracy", 0.5, 0.55, True, "of labels"),
        Check("position bias", 0.3, 0.2, False, "of places"),
        Check("entropy", 0.6, 0.05, True, "of answers"),
    )
    checking.say_failures(SimpleNamespace(progress=PlainProgress()), "warm", Checked(checks, ()))
    assert capsys.readouterr().err.splitlines() == [
        "critic warm failed its check of accuracy: 0.500, at least 0.55 is wanted (of labels)",
        "critic warm failed its check of position bias: 0.300, at most 0.2 is wanted (of places)",
    ]


def test_a_critic_that_fails_a_check_that_matters_stops_before_clips_are_made_for_it(
    harness: Harness,
) -> None:
    [event, *_] = harnesses.events(harness.path, CriticCheckEvent)
    rows = [replace(row, passed=row.name not in ("accuracy", "frames")) for row in event.checks]
    with pytest.raises(StageError, match=r"its check \(accuracy is .* no clips are made for it"):
        checking.require_passed(replace(event, checks=rows), backend="vila")
    harmless = [replace(row, passed=row.name in checking.MATTERS) for row in event.checks]
    checking.require_passed(replace(event, checks=harmless), backend="vila")


@pytest.mark.parametrize(
    ("rate", "num", "loss_type", "stops"),
    [
        (0.0, 48, "dpo", True),
        (0.3, 48, "dpo", False),  # with two more tries a third stays unread at most
        (0.0, 4, "dpo", False),  # so few say little
        (0.0, 48, "kto", False),  # which compares no clips
    ],
)
def test_a_critic_that_can_hardly_be_read_stops_before_clips_are_made_for_it(
    rate: float, num: int, loss_type: str, stops: bool
) -> None:
    settings = config.load(harnesses.RECIPE, [f"align.loss_type={loss_type}"])
    critic = settings.critic.model_copy(update={"max_abstain_rate": 0.3, "max_reasks": 2})
    settings = settings.model_copy(update={"critic": critic})
    parsed = Check("parse rate", rate, 0.7, True, "")
    checked = Checked((parsed,), (), num_answers=num, unread="\n  an answer: 'hm'")
    if not stops:
        return checking.require_words("warm", checked, settings)
    with pytest.raises(StageError, match=r"0% of its 48 answers (.|\n)* an answer: 'hm'"):
        checking.require_words("warm", checked, settings)


@pytest.mark.slow
def test_a_run_that_stops_for_its_critic_has_sampled_nothing_and_goes_on_when_told_to_warn(
    models_folder: Path, memory: Path
) -> None:
    path = memory / "distrusted"
    strict = ("rounds=1", "critic.check.min_accuracy=1.0", "critic.check.num_pairs=12")
    stopping = (*strict, "critic.check.on_failure=stop")
    assert harnesses.ended(harnesses.recipe(models_folder, path, *stopping)) == 1
    assert re.search(r"accuracy is 0\.\d+, at least 1 is asked", harnesses.log(path))
    with harnesses.ledger_of(path) as ledger:
        stages = {unit.stage for unit in ledger.units()}
    assert "check" in stages and not {s for s in stages if s.startswith("sample.monitor")}
    warned = harnesses.recipe(models_folder, path, *strict, "rounds=0")
    assert harnesses.ended(warned) == 0, harnesses.log(path)
