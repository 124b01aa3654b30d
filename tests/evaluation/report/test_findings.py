"""Reasons to stop, failed checks and what followed stand in the headline, each with its fact."""

from typing import Any

from dualipo.evaluation.report import findings
from dualipo.evaluation.run_history import RoundHistory, RunHistory
from dualipo.event_parts import CheckRow, Signals
from dualipo.events import (
    AlignEvent,
    CriticCheckEvent,
    MonitorEvent,
    Outcome,
    RefreshEvent,
    ScoresEvent,
)

SETTINGS = {"rounds": 2, "align.winner_nll_ratio": 0.3, "align.preference_weight": 1.0}


def a_round(number: int, stop: list[str], outcome: Outcome, critic: str) -> RoundHistory:
    events: list[Any] = [
        AlignEvent(num_steps=1, generator_version=f"g{number}", critic_version=critic),
        MonitorEvent(signals=Signals(), triggers=[], stop=stop, winner_gap=None),
        RefreshEvent(outcome=outcome, why=[], critic_version=critic),
        scores(0.6),
    ]
    return RoundHistory(number, attempt=1, events=events)


def scores(total: float) -> ScoresEvent:
    return ScoresEvent(prompt_ids=["p", "q"], captions=["", ""], parts={}, total=[total, total])


def checked(critic: str, number: float, *, num_pairs: int | None = None) -> CriticCheckEvent:
    row = CheckRow(
        name="accuracy",
        number=number,
        threshold=0.5,
        at_least=True,
        what="forced choice",
        passed=number >= 0.5,
    )
    return CriticCheckEvent(
        critic_version=critic, passed=row.passed, checks=[row], reliability=[], num_pairs=num_pairs
    )


def a_run(*rounds: RoundHistory, checks: Any = (), **settings: Any) -> RunHistory:
    base = RoundHistory(-1, events=[scores(0.5)])
    return RunHistory("run", SETTINGS | settings, base, list(rounds), critic_checks=checks)


def test_a_reason_to_stop_says_whether_the_run_did() -> None:
    rounds = [a_round(n, ["win rate 0.4 is under 0.52"], "not needed", "warm") for n in (0, 1)]
    first, last, *_ = findings.sentences(a_run(*rounds))
    assert first == (
        "After round 0 there was a reason to stop: win rate 0.4 is under 0.52. The run went on, "
        "because refresh.stop_early is false."
    )
    assert last.endswith("It was the last round.")
    (ended, *_) = findings.sentences(a_run(rounds[0], **{"refresh.stop_early": True}))
    assert ended.endswith("The run ended there.")


def test_a_failed_check_says_whether_its_critic_judged() -> None:
    checks = [checked("warm", 0.4), checked("c000.0", 0.45), checked("c001.0", 0.9)]
    history = a_run(a_round(0, [], "reverted", "warm"), checks=checks)
    warm, reverted, served, _ = findings.sentences(history)
    assert warm.startswith("Critic warm failed its check of accuracy (0.4, at least 0.5 is wanted)")
    assert "It judged all the same" in warm and "held-out pairs" not in warm
    assert "Critic c000.0" in reverted and reverted.endswith("It has judged no round.")
    assert served == "No refreshed critic served: 1 of 1 were reverted."


def test_a_failed_check_says_what_chance_does_with_so_few_pairs() -> None:
    few, more = (
        findings.sentences(a_run(checks=[checked("warm", 0.4, num_pairs=num)]))[0]
        for num in (12, 1200)
    )
    assert "on 12 held-out pairs, where chance moves a share by up to 0.25" in few
    assert "on 1200 held-out pairs, where chance moves a share by up to 0.03" in more


def test_a_refreshed_critic_that_served_is_said_to_have() -> None:
    served, _ = findings.sentences(a_run(a_round(0, [], "refreshed", "c000.0")))
    assert served == "A refreshed critic served: it was refreshed in round 0."


def test_what_the_likelihood_terms_alone_give_is_said_to_be_unmeasured() -> None:
    calm = a_round(0, [], "not needed", "warm")
    (told,) = findings.sentences(a_run(calm))
    assert "align.preference_weight=0" in told
    assert findings.sentences(a_run(calm, **{"align.preference_weight": 0})) == []
    assert findings.sentences(a_run(calm, **{"align.winner_nll_ratio": 0})) == []
