"""Tests what the benchmarks count, on one pair, and what they found of the estimate."""

import json
from pathlib import Path

import pytest

from benchmarks import big_store, judge
from dualipo.progress import PlainProgress
from dualipo.rounds import judging, loop, sampling

RESULTS = Path(__file__).parents[1] / "benchmarks" / "results"


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


def test_a_large_rounds_store_is_read_back_as_it_was_filled(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    rows = big_store.fill(folder, 5)
    assert rows == {"prompts": 5, "candidates": 40, "votes": 240, "units": 8}
    with loop.opened(big_store.settings(folder, 5), PlainProgress()) as run:
        candidates = sampling.sample_candidates(run, 0, sampling.choose_prompts(run, 0))
        judging.score(run, 0, 0, candidates)  # asks no critic, as all is graded
        contests = judging.contests_of(run, 0, 0, candidates)
    assert len(candidates) == 40
    assert len(contests.chosen) + contests.dropped.total() == 5


def test_the_estimate_of_critic_training_is_within_15_percent_of_what_was_measured() -> None:
    results = json.loads((RESULTS / "critic-memory-cpu-one-thread.json").read_text())
    assert len(results["ways"]) == 7
    for way, sizes in results["ways"].items():
        assert sizes["estimated"] == pytest.approx(sizes["measured"], rel=0.15), way
