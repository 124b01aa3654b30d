"""A whole run of a few seconds, killed at its failpoints and resumed: equal to the clean one.

41 points in all: those that a fault names, and others spread evenly. `python -m
tests.rounds.kill_all` takes every point, and kills during recovery too.
"""

import signal

import pytest

from tests.rounds import harness as harnesses
from tests.rounds.harness import Harness

NUM_SPREAD = 13


def same(harness: Harness, name: str, occurrence: int = 0) -> None:
    assert harness.killed_at(harness.point(name, occurrence)) == harness.clean


@pytest.mark.parametrize(
    "name", ["prompts-seed.parquet.before_rename", "prompts.parquet.after_rename"]
)
def test_fault_01_killed_while_choosing_prompts(harness: Harness, name: str) -> None:
    same(harness, name, -1)


@pytest.mark.parametrize("occurrence", [20, -10])
def test_fault_02_killed_while_sampling(harness: Harness, occurrence: int) -> None:
    same(harness, "clip.before_rename", occurrence)


@pytest.mark.parametrize(
    "name",
    [
        "clip.after_rename",
        "unit-0000.safetensors.after_rename",
        "texts-0000.safetensors.after_rename",
        "LOCK.after_write",
    ],
)
def test_fault_03_killed_between_a_file_and_its_row(harness: Harness, name: str) -> None:
    same(harness, name)


@pytest.mark.parametrize(
    "name", ["votes-0000.parquet.after_rename", "votes-0001.parquet.before_rename"]
)
def test_fault_04_killed_while_judging(harness: Harness, name: str) -> None:
    same(harness, name)


@pytest.mark.parametrize(
    "name", ["preferences.parquet.before_rename", "preferences.parquet.after_rename"]
)
def test_fault_05_killed_while_building_pairs(harness: Harness, name: str) -> None:
    same(harness, name)


@pytest.mark.parametrize(
    "name", ["checkpoint.before_rename", "checkpoint.after_rename", "transformer.after_rename"]
)
def test_fault_06_killed_in_a_training_stage(harness: Harness, name: str) -> None:
    same(harness, name, -1)


@pytest.mark.parametrize("name", ["critic.before_rename", "critic.after_rename"])
def test_fault_07_killed_while_refreshing_the_critic(harness: Harness, name: str) -> None:
    same(harness, name, -1)


@pytest.mark.parametrize("steps_behind", [1, 2])
def test_fault_07_killed_on_each_side_of_the_swap(harness: Harness, steps_behind: int) -> None:
    """Behind the critic's folder come the transaction that swaps it, and its end."""
    hit = harness.point("critic.after_rename", -1) + steps_behind
    assert harness.names[hit - 1].startswith("ledger.")
    assert harness.killed_at(hit) == harness.clean


@pytest.mark.parametrize(
    "name", ["test.parquet.after_rename", "signals.json.before_rename", "report.html.after_rename"]
)
def test_fault_08_killed_in_evaluation_and_report(harness: Harness, name: str) -> None:
    same(harness, name)


@pytest.mark.parametrize("place", range(NUM_SPREAD))
def test_killed_anywhere(harness: Harness, place: int) -> None:
    hit = 1 + (len(harness.names) - 1) * place // (NUM_SPREAD - 1)
    assert harness.killed_at(hit) == harness.clean, harness.names[hit - 1]


# After a training's last checkpoint, the recovery restores it and publishes what it holds.
@pytest.mark.parametrize(("share", "again"), [(0.2, 3), (None, 5), (0.9, 2)])
def test_fault_09_killed_while_recovering(
    harness: Harness, share: float | None, again: int
) -> None:
    last = harness.point("checkpoint.after_rename", -1)
    hit = last if share is None else int(len(harness.names) * share)
    assert harness.killed_at(hit, again, again + 1) == harness.clean


def test_fault_93_a_power_cut_that_loses_the_curve_changes_no_signal(harness: Harness) -> None:
    with harnesses.elsewhere(harness) as path:
        hit = harness.point("transformer.before_rename")  # every step of the alignment is behind
        assert harnesses.ended(harness.recipe(path), fail=f"kill@{hit}") == -signal.SIGKILL
        (path / "metrics.jsonl").write_text("")
        assert harnesses.ended(harness.recipe(path)) == 0, harnesses.log(path)
        assert harnesses.state(path) == harness.clean


@pytest.mark.parametrize("steps_behind", [0, 1, 2])
def test_fault_33_killed_while_reverting(reverting: Harness, steps_behind: int) -> None:
    hit = reverting.point("critic.after_rename", -1) + steps_behind
    assert reverting.killed_at(hit) == reverting.clean


@pytest.mark.parametrize(
    "name", ["clip.before_rename", "checkpoint.before_rename", "ledger.before_commit"]
)
def test_fault_15_a_full_disk_stops_the_run_and_room_lets_it_go_on(
    harness: Harness, name: str
) -> None:
    with harnesses.elsewhere(harness) as path:
        hit = harness.point(name, -1)
        assert harnesses.ended(harness.recipe(path), fail=f"enospc@{hit}") == 1
        assert "StorageError" in harnesses.log(path) and "Free that much" in harnesses.log(path)
        assert harnesses.ended(harness.recipe(path)) == 0
        assert harnesses.state(path) == harness.clean


def test_fault_16_one_error_of_the_disk_is_retried(harness: Harness) -> None:
    with harnesses.elsewhere(harness) as path:
        hit = harness.point("preferences.parquet.before_rename")
        assert harnesses.ended(harness.recipe(path), fail=f"eio@{hit}") == 0
        assert harnesses.state(path) == harness.clean
