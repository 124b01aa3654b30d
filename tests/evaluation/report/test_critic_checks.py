"""The report names the captions that talk a critic into a verdict."""

from dualipo.evaluation.report import critic_checks
from dualipo.evaluation.report.headline import DASH
from dualipo.evaluation.run_history import BASE, RoundHistory, RunHistory
from dualipo.event_parts import CaptionTrial
from dualipo.events import CaptionsEvent


def test_fault_38_the_report_names_what_captions_turned() -> None:
    tried = CaptionsEvent(
        suspicious=CaptionTrial(tried=["p1", "p2"], turned=["p2"], num_verdicts=4, num_turned=2),
        ordinary=CaptionTrial(tried=["p3"], turned=[], num_verdicts=0, num_turned=0),
    )
    rounds = [RoundHistory(0), RoundHistory(1, events=[tried])]
    history = RunHistory(name="run", settings={}, base=RoundHistory(BASE), rounds=rounds)
    section = critic_checks.trust_section(history)
    [table] = section.tables
    assert table.rows == [["round 1", "2 of 4 (50.0 %)", DASH]]
    assert section.notes == [
        "round 1: the critic judged 2 clips or pairs again under a neutral caption; its verdict "
        "turned for 1 of them: p2.",
        "round 1: the critic judged 1 clips or pairs again under a neutral caption; its verdict "
        "turned for 0 of them.",
    ]
