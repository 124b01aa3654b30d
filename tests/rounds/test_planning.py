"""The plan of a resumed run leaves out what is done."""

from dualipo.config import Config
from dualipo.rounds.planning import plan
from dualipo.rounds.run import BASE_ROUND


def test_a_resumed_run_plans_only_the_rounds_that_are_left() -> None:
    config = Config()
    whole, rest = plan(config), plan(config, rounds_done=(BASE_ROUND, 0))
    assert rest["align"] * 3 == whole["align"] * 2 == config.align.max_train_steps * 3 * 2
    assert rest["sample.test"] * 4 == whole["sample.test"] * 2
    assert "warm_start_sft" in whole and "warm_start_sft" not in rest
    assert plan(config, rounds_done=(BASE_ROUND, 0, 1, 2)) == {}
