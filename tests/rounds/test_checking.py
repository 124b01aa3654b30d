"""Critic versions are checked before they judge, in a run and by hand."""

from dualipo.cli.main import main
from tests.rounds import harness as harnesses
from tests.rounds.harness import Harness


def test_every_critic_that_judged_was_checked_once(harness: Harness) -> None:
    checked = harnesses.events(harness.path, "critic_check")
    refreshed = [
        e for e in harnesses.events(harness.path, "refresh") if e["outcome"] == "refreshed"
    ]
    versions = [event["critic_version"] for event in checked]
    assert versions == ["warm", *[event["critic_version"] for event in refreshed]]
    for event in checked:
        assert {one["name"] for one in event["checks"]} >= {"parse rate", "entropy", "accuracy"}
        assert event["passed"] == all(one["passed"] for one in event["checks"])


def test_a_critic_is_checked_by_hand_with_a_verdict_and_changes_nothing(
    harness: Harness, capsys
) -> None:
    before = harnesses.state(harness.path)
    code = main(["critic", "check", str(harness.path), "--critic", "shipped"])
    said = capsys.readouterr().out
    assert said.startswith("critic shipped\ncheck") and "caption obedience" in said
    assert code == int("FAILED" in said)
    assert harnesses.state(harness.path) == before
