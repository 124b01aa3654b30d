"""The words say what an alignment's numbers are, case by case (METHOD.md 4.2)."""

from typing import Any

import pytest

from dualipo.evaluation import trainings
from dualipo.evaluation.run_history import RoundHistory
from dualipo.events import PreferEvent

PREFER = PreferEvent(num_prompts=20, kept=9, dropped={}, certainty=[], mean_vote_share=None)


def judged(**curves: list[float]) -> list[str]:
    num = max(len(values) for values in curves.values())
    rows: list[dict[str, Any]] = [
        {"step": n, **{name: values[n] for name, values in curves.items()}} for n in range(num)
    ]
    round_ = RoundHistory(0, events=(PREFER,), metrics={"align": rows})
    return trainings.sentences({"align.loss_type": "dpo"}, round_)


@pytest.mark.parametrize(
    ("spread", "word"), [(0.1, "little was learned"), (0.6, "as it should be"), (3.0, "by heart")]
)
def test_the_spread_of_z_is_judged_after_50_steps(spread: float, word: str) -> None:
    later = [9.0] * 30  # what follows step 50 is no calibration
    (sentence,) = judged(z_std=[spread] * 50 + later)
    assert word in sentence and "after 50 steps" in sentence


def test_an_accuracy_of_100_percent_from_step_5_on_nine_pairs_is_memory() -> None:
    (sentence,) = judged(implicit_accuracy=[0.5, 0.6, 0.7, 0.8, 0.9] + [1.0] * 20)
    assert "from step 5 on" in sentence and "9 preferences is memorised" in sentence
    assert judged(implicit_accuracy=[0.5] * 15 + [1.0] * 10) == []
    assert judged(implicit_accuracy=[1.0] * 10 + [0.9]) == []


def test_winners_that_are_fitted_worse_while_the_accuracy_rises_are_told() -> None:
    rising = [0.5 + 0.01 * n for n in range(20)]
    assert any("over-opt" in s for s in judged(winner_gap=[0.01] * 20, implicit_accuracy=rising))
    assert judged(winner_gap=[-0.01] * 20, implicit_accuracy=rising) == []
    assert judged(winner_gap=[0.01] * 20, implicit_accuracy=rising[::-1]) == []
