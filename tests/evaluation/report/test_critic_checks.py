"""What the report says of critics that captions could turn."""

from dualipo.evaluation.report import critic_checks
from dualipo.evaluation.run_history import BASE, RoundHistory, RunHistory
from dualipo.events import CaptionsEvent


def test_fault_38_the_report_names_what_captions_turned() -> None:
    tried = CaptionsEvent(talking=["p1", "p2"], flipped=["p2"])
    rounds = [RoundHistory(0), RoundHistory(1, events=[tried])]
    history = RunHistory(name="run", config={}, base=RoundHistory(BASE), rounds=rounds)
    assert critic_checks.trust_section(history).notes == [
        "round 1: 1 of 2 captions that were tried without turned what the critic says: p2."
    ]
