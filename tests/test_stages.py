"""The list of stages is complete and in the order in which commands run them."""

from dualipo import stages
from dualipo.stages import COMMANDS, STAGES


def test_commands_are_in_the_order_of_their_stages() -> None:
    of_rounds = [stage.command for stage in STAGES if stage.turn != "start"]
    assert tuple(dict.fromkeys(of_rounds)) == COMMANDS
    assert of_rounds == sorted(of_rounds, key=COMMANDS.index)


def test_a_command_is_complete_with_its_last_stage() -> None:
    lasts = {command: stages.last_of(command).stage_id for command in COMMANDS}
    assert lasts == {
        "sample": "sample.candidates",
        "judge": "judged",
        "prefer": "prefer",
        "align": "align",
        "evaluate": "monitor",
        "refresh": "refresh",
    }
    assert stages.command_before("sample") is None
    assert stages.command_before("align") == "prefer"


def test_a_second_attempt_does_not_sample_and_the_last_attempt_closes_the_round() -> None:
    first = [stage.stage_id for stage in stages.of_attempt(0, is_last=False)]
    second = [stage.stage_id for stage in stages.of_attempt(1, is_last=True)]
    assert "sample.candidates" in first and "refresh" in first and "scores" not in first
    assert "sample.candidates" not in second and "refresh" not in second and "scores" in second
    assert "prefer" in first and "prefer" in second
    only = [stage.stage_id for stage in stages.of_attempt(0, is_last=True)]
    assert only == [stage.stage_id for stage in STAGES if stage.turn != "start"]
