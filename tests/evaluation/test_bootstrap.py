"""Intervals cover what they promise, pairing helps, and nothing degenerate passes for a number."""

import numpy as np
import pytest

from dualipo.errors import DataError
from dualipo.evaluation.bootstrap import by_prompt, clustered_mean, paired_difference, wilson

NUM_TRIALS = 300


def _clips(rng: np.random.Generator, num_prompts: int, per_prompt: int) -> tuple[list, list]:
    """Scores of mean 0 in which clips of one prompt are alike."""
    prompts_P = rng.normal(size=num_prompts)
    values_PK = prompts_P[:, None] + 0.3 * rng.normal(size=(num_prompts, per_prompt))
    ids = [f"p{index}" for index in range(num_prompts) for _ in range(per_prompt)]
    return values_PK.ravel().tolist(), ids


def _coverage(*, clustered: bool) -> float:
    rng = np.random.default_rng(1)
    hits = 0
    for trial in range(NUM_TRIALS):
        values, ids = _clips(rng, 40, 5)
        clusters = ids if clustered else [f"clip{index}" for index in range(len(ids))]
        interval = clustered_mean(values, clusters=clusters, seed=trial, num_resamples=400)
        hits += interval.low <= 0.0 <= interval.high
    return hits / NUM_TRIALS


@pytest.mark.slow
def test_the_interval_covers_the_truth_only_when_whole_prompts_are_resampled() -> None:
    assert 0.90 <= _coverage(clustered=True) <= 0.98
    assert _coverage(clustered=False) < 0.75


def test_pairing_by_prompt_beats_two_independent_intervals() -> None:
    rng = np.random.default_rng(2)
    before, ids = _clips(rng, 64, 1)
    after = [
        value + 0.1 + 0.05 * noise for value, noise in zip(before, rng.normal(size=64), strict=True)
    ]
    paired = paired_difference(by_prompt(before, ids), by_prompt(after, ids))
    alone = [clustered_mean(values, clusters=ids) for values in (before, after)]
    assert paired.excludes_zero and paired.low < 0.1 < paired.high
    assert alone[0].high > alone[1].low, "unpaired, the same runs cannot be told apart"
    assert paired.mean == pytest.approx(alone[1].mean - alone[0].mean)
    assert paired.high - paired.low < 0.2 * (alone[0].high - alone[0].low)


def test_every_prompt_weighs_the_same_in_a_paired_difference() -> None:
    before = {"a": [0.0, 0.0, 0.0, 0.0], "b": [0.0]}
    after = {"a": [1.0], "b": [0.0, 0.0, 0.0]}
    assert paired_difference(before, after).mean == 0.5


def test_the_same_seed_gives_the_same_interval_in_any_order_of_rows() -> None:
    values, ids = _clips(np.random.default_rng(3), 10, 3)
    backwards = clustered_mean(values[::-1], clusters=ids[::-1])
    forwards = clustered_mean(values, clusters=ids)
    assert (forwards.low, forwards.high) == pytest.approx((backwards.low, backwards.high))


def test_wilson_agrees_with_the_published_formula_and_stays_in_range() -> None:
    interval = wilson(81, 263)  # Newcombe (1998), table I
    assert (round(interval.low, 4), round(interval.high, 4)) == (0.2553, 0.3662)
    assert wilson(0, 10).low == 0.0 and wilson(10, 10).high == 1.0


@pytest.mark.parametrize("values", [[], [0.4], [0.4, float("nan")]])
def test_degenerate_scores_are_refused(values: list[float]) -> None:
    with pytest.raises(DataError):
        clustered_mean(values, clusters=[f"p{index}" for index in range(len(values))])


def test_degenerate_pairs_and_counts_are_refused() -> None:
    for before, after in (({}, {}), ({"a": [1.0]}, {"b": [1.0]}), ({"a": []}, {"a": [1.0]})):
        with pytest.raises(DataError):
            paired_difference(before, after)
    with pytest.raises(DataError, match="2 scores for 1"):
        clustered_mean([0.1, 0.2], clusters=["a"])
    for num_correct, num in ((0, 0), (3, 2), (-1, 2)):
        with pytest.raises(DataError):
            wilson(num_correct, num)


def test_few_prompts_show_nothing_although_their_resamples_exclude_zero() -> None:
    few, enough = (
        paired_difference(
            {str(n): [0.0] for n in range(num)}, {str(n): [1.0 + 0.1 * n] for n in range(num)}
        )
        for num in (4, 10)
    )
    assert few.low > 0 and not few.excludes_zero
    assert few.ends(str) == "4 prompts: too few to say"
    assert enough.excludes_zero and " to " in enough.ends("{:.1f}".format)
