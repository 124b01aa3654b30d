"""Tests that the gate tells a lost critic from an unchanged one, and says what it could not see."""

import numpy as np
import pytest

from dualipo.errors import DataError
from dualipo.evaluation.refresh_gate import Difference, mean_loss, rule

NUM = 300
PROMPTS = [str(n // 3) for n in range(NUM)]


@pytest.fixture
def leans() -> np.ndarray:
    return np.random.default_rng(0).normal(0.7, 1.0, NUM)


def test_the_same_critic_shows_no_difference(leans):
    ruling = rule(leans, leans, prompt_ids=PROMPTS)
    assert ruling.verdict == "no difference"
    assert ruling.loss == ruling.accuracy == Difference(0.0, 0.0)
    assert (ruling.num_labels, ruling.num_prompts) == (NUM, 100)


def test_a_surer_critic_with_the_same_order_is_neither_better_nor_worse(leans):
    ruling = rule(leans, 5 * leans, prompt_ids=PROMPTS)
    assert ruling.verdict == "no difference" and ruling.accuracy.mean == 0
    assert abs(ruling.loss.mean) < 1e-3
    assert mean_loss(5 * leans) == pytest.approx(mean_loss(leans), abs=1e-3)
    assert mean_loss(leans - 1) > mean_loss(leans) + 0.05


def test_a_label_with_the_same_answer_twice_counts_once(leans):
    lost = leans - 0.1
    once = rule(leans, lost, prompt_ids=PROMPTS)
    assert rule(np.c_[leans, leans], np.c_[lost, lost], prompt_ids=PROMPTS) == once


def test_a_loss_is_worse_and_its_mirror_better(leans):
    lost = leans - 0.5
    worse, better = rule(leans, lost, prompt_ids=PROMPTS), rule(lost, leans, prompt_ids=PROMPTS)
    assert (worse.verdict, better.verdict) == ("worse", "better")
    assert worse.loss.mean == pytest.approx(-better.loss.mean)
    assert worse.accuracy.mean < 0 < better.accuracy.mean
    assert worse.loss.interval[0] > 0 > better.loss.interval[1]


def test_labels_of_one_prompt_count_less_than_independent_ones():
    """Repeating every label within its prompt adds nothing to the evidence."""
    rng = np.random.default_rng(1)
    before, after = rng.normal(0.7, 1, 100), rng.normal(0.5, 1, 100)
    once = rule(before, after, prompt_ids=[str(n) for n in range(100)])
    thrice = rule(before.repeat(3), after.repeat(3), prompt_ids=[str(n // 3) for n in range(300)])
    assert thrice.accuracy.error == pytest.approx(once.accuracy.error)
    assert thrice.detectable == pytest.approx(once.detectable)


def test_a_quarter_of_the_detectable_fall_needs_sixteen_times_the_labels(leans):
    ruling = rule(leans, np.random.default_rng(2).normal(0.7, 1.0, NUM), prompt_ids=PROMPTS)
    assert ruling.labels_needed(ruling.detectable / 4) == pytest.approx(16 * NUM, abs=1)


def test_a_neutral_refresh_is_rarely_called_worse_and_a_lost_one_mostly():
    rng = np.random.default_rng(3)

    def verdict(loss: float) -> str:
        before = rng.normal(0.7, 1.0, NUM)
        after = 0.9 * (before - 0.7) + 0.7 - loss + 0.44 * rng.normal(0, 1.0, NUM)
        return rule(before, after, prompt_ids=PROMPTS).verdict

    neutral = [verdict(0.0) for _ in range(300)]
    lost = [verdict(0.15) for _ in range(100)]
    assert neutral.count("worse") / 300 < 0.15 and neutral.count("better") / 300 < 0.15
    assert lost.count("worse") / 100 > 0.8


def test_too_few_prompts_and_unequal_labels_are_refused():
    with pytest.raises(DataError, match="at least 4 are needed"):
        rule([1.0] * 3, [1.0] * 3, prompt_ids=["a", "b", "c"])
    with pytest.raises(DataError, match="must answer the same labels"):
        rule([1.0], [1.0, 2.0], prompt_ids=["a", "b"])
