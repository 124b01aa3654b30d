"""Tests what the benchmarks count, on one pair."""

import pytest

from benchmarks import judge


@pytest.mark.slow
def test_a_pairs_prefixes_and_clips_are_computed_once() -> None:
    bench = judge.long_prefix(1)
    bench.critic.settings = bench.critic.settings.model_copy(update={"max_new_tokens": 2})
    num_votes, ours = bench.ours(), dict(bench.seen)
    shape = bench.shape()
    bench.seen.clear()
    assert bench.generate(batch=8, sequences=1) == num_votes == 3 * judge.NUM_VOTES
    orders, questions = 2, 6
    most = orders * shape["prefix tokens"] + questions * shape["question tokens"]
    assert ours["prefill tokens"] <= most
    assert ours["prefill tokens"] <= bench.seen["prefill tokens"] / 10
    assert ours["looks"] == 2 < bench.seen["looks"]  # of two clips
    assert shape["prefix tokens"] >= max(1000, 20 * shape["question tokens"])
