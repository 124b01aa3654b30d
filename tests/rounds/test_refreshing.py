"""A refresh that changes nothing, and one that would make the critic worse."""

from dataclasses import replace
from pathlib import Path

import pytest

from dualipo.config import Config
from dualipo.events import RefreshEvent
from dualipo.progress import PlainProgress
from dualipo.rounds import audit, refreshing
from dualipo.rounds.loop import opened
from tests.evaluation.conftest import GATE
from tests.rounds import harness as harnesses
from tests.rounds.harness import Harness


def heads(path: Path) -> tuple[str, str]:
    with harnesses.ledger_of(path) as ledger:
        generator, critic = ledger.head("generator"), ledger.head("critic")
    assert generator is not None and critic is not None
    return generator.version_id, critic.version_id


def test_fault_32_an_empty_keep_set_is_an_outcome(harness: Harness) -> None:
    with harnesses.elsewhere(harness) as path:
        settings = harness.recipe(path, "rounds=1", "refresh.srpo.pce_threshold=1.0")
        assert harnesses.ended(settings) == 0, harnesses.log(path)
        [refresh] = harnesses.events(path, RefreshEvent)
        assert refresh.outcome == "empty" and refresh.refinement.num_kept == 0
        assert refresh.refinement.dropped["not certain"] > 0
        # The critic stays, and with it the judgements: there is no second attempt.
        assert heads(path) == ("g000.0", "warm")
        assert (path / "report.html").exists()


def run_from(sources: str, harness: Harness, path: Path, *overrides: str) -> Config:
    """Run one round with a refresh from these sources, with enough prompts to halve."""
    wide = ("prompts.num_monitor_prompts=4", "monitor.num_audit_labels=12")
    own = ("rounds=1", f"refresh.sources={sources}", "refresh.num_constructed=9")
    settings = harness.recipe(path, *own, *wide, *overrides)
    assert harnesses.ended(settings) == 0, harnesses.log(path)
    return settings


def test_fault_32_too_few_pairs_are_an_outcome_that_says_what_each_source_gave(
    harness: Harness,
) -> None:
    sources = '["votes", "constructed", "newer", "audit"]'
    with harnesses.elsewhere(harness) as path:
        run_from(sources, harness, path, "refresh.min_pairs=10000")
        [refresh] = harnesses.events(path, RefreshEvent)
        assert refresh.outcome == "too few" and refresh.critic_version == "warm"
        assert heads(path) == ("g000.0", "warm")
        counted = {source.name: source for source in refresh.refinement.sources}
        assert list(counted) == ["votes", "constructed", "newer", "audit"]
        assert 0 < counted["constructed"].num_pairs <= 9 and counted["audit"].num_pairs > 0
        assert 0 < counted["constructed"].num_labelled <= 9  # annotators may call some a tie
        assert "constructed" in (path / "report.html").read_text()


def test_a_refresh_learns_from_labelled_pairs_alone_and_halves_the_monitor_prompts(
    harness: Harness,
) -> None:
    with harnesses.elsewhere(harness) as path:
        settings = run_from('["constructed", "audit"]', harness, path, "refresh.srpo.num_choices=2")
        refresh = next(iter(harnesses.events(path, RefreshEvent)))
        used = refresh.refinement
        assert refresh.outcome in ("refreshed", "reverted") and used.num_judged == 0
        assert used.mean_pce is None and used.best_step in (1, 2)
        with opened(settings, PlainProgress()) as run:
            labels = audit.newest(run, 0, 0)
            taught, kept = audit.learning(run, labels), audit.measuring(run, labels)
            prompts = [{label.prompt_id for label in half} for half in (taught, kept)]
            assert [len(half) for half in prompts] == [2, 2] and not prompts[0] & prompts[1]


def test_fault_33_a_worse_critic_is_kept_as_evidence_and_does_not_serve(
    reverting: Harness,
) -> None:
    [refresh] = harnesses.events(reverting.path, RefreshEvent)
    assert refresh.outcome == "reverted"
    assert refresh.refinement.holdout_before is not None
    assert refresh.refinement.holdout_after is None  # it answers nothing any more: no pass
    assert refresh.critic_version == "warm"
    with harnesses.ledger_of(reverting.path) as ledger:
        evidence = ledger.version("critic", "c000.0")
        assert ledger.votes(0, 1, "pair") == ledger.votes(0, 1, "point") == []
    assert (reverting.path / evidence.path / "llm" / "model.safetensors").is_file()
    assert heads(reverting.path) == ("g000.0", "warm")


@pytest.mark.parametrize(
    ("verdict", "serve_if_equal", "serves"),
    [
        ("better", False, True),
        ("no difference", True, True),
        ("no difference", False, False),
        ("worse", True, False),
        (None, True, True),  # no labels to compare by: nothing is seen
    ],
)
def test_fault_33_each_of_the_gates_outcomes_decides(
    verdict: str | None, serve_if_equal: bool, serves: bool
) -> None:
    gate = verdict and replace(GATE, verdict=verdict)
    assert refreshing._passes(gate, serve_if_equal=serve_if_equal) == serves
