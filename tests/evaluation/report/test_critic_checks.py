"""The report names the captions that talk a critic into a verdict."""

from dualipo.evaluation.report import critic_checks
from dualipo.evaluation.run_history import BASE, RoundHistory, RunHistory
from dualipo.events import CaptionsEvent


def test_fault_38_the_report_names_what_captions_turned() -> None:
    tried = CaptionsEvent(talking=["p1", "p2"], flipped=["p2"])
    rounds = [RoundHistory(0), RoundHistory(1, events=[tried])]
    history = RunHistory(name="run", settings={}, base=RoundHistory(BASE), rounds=rounds)
    assert critic_checks.trust_section(history).notes == [
        "round 1: the critic judged 2 clips or pairs again without their caption; "
        "its verdict changed for 1 of them: p2."
    ]
