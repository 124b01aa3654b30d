"""Tests what the benchmarks count, on one pair, and what they found of the estimate."""

import importlib
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


def test_jobs_wait_for_those_they_need_and_are_done_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(RESULTS.parent))
    evidence = importlib.import_module("evidence")
    monkeypatch.setattr(evidence, "BENCHMARKS", tmp_path)
    told, bad = tmp_path / "told", tmp_path / "bad"
    bad.touch()
    script = f"""import pathlib, sys
with open({str(told)!r}, "a") as file:
    print(sys.argv[1], file=file)
sys.exit(sys.argv[1] == "b" and pathlib.Path({str(bad)!r}).exists())"""
    (tmp_path / "say.py").write_text(script)
    needs = {"d": ["c"], "c": ["a", "b"], "a": [], "b": [], "x": []}
    jobs = [evidence.Job(name, ["say", name], own) for name, own in needs.items()]
    wanted = evidence.needed(jobs, ["d"])
    assert {job.name for job in wanted} == {"a", "b", "c", "d"}
    assert evidence.run_all(wanted, tmp_path, at_once=2) == ["b"]
    assert sorted(told.read_text().split()) == ["a", "b"]
    bad.unlink()
    assert evidence.run_all(wanted, tmp_path, at_once=2) == []
    assert told.read_text().split()[2:] == ["b", "c", "d"]


def test_every_job_of_the_evidence_is_a_benchmark_that_takes_its_arguments(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.syspath_prepend(str(RESULTS.parent))
    evidence = importlib.import_module("evidence")
    jobs = evidence.jobs_of("recipe.toml", "runs", "results")
    names = [job.name for job in jobs]
    assert len(set(names)) == len(names)
    for job in jobs:
        assert set(job.needs) <= set(names[: names.index(job.name)]), job.name
        script = (RESULTS.parent / f"{job.command[0]}.py").read_text()
        for part in job.command[1:]:
            assert not part.startswith("--") or f'"{part}"' in script, (job.name, part)


def test_the_estimate_of_critic_training_is_within_15_percent_of_what_was_measured() -> None:
    results = json.loads((RESULTS / "critic-memory-cpu-one-thread.json").read_text())
    assert len(results["ways"]) == 7
    for way, sizes in results["ways"].items():
        assert sizes["estimated"] == pytest.approx(sizes["measured"], rel=0.15), way
