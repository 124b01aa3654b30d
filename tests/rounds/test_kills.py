"""A whole run of a few seconds, killed at its failpoints and resumed: equal to the clean one.

Some thirty points: those that a fault names, and others spread evenly. What a kill leaves there
comes from one run that is halted at all of them (`stopped.py`). `python -m tests.rounds.kill_all`
kills at every point, and during recovery too.
"""

import errno
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from dualipo import failpoints
from dualipo.progress import PlainProgress
from dualipo.rounds import loop
from dualipo.store import atomic
from tests.rounds import harness as harnesses
from tests.rounds.harness import Harness
from tests.rounds.stopped import Stopped, stopped

NUM_SPREAD = 7


class Point(NamedTuple):
    """A failpoint's nth occurrence, or one so many hits behind it."""

    name: str
    occurrence: int = 0
    behind: int = 0

    def hit(self, harness: Harness) -> int:
        return harness.point(self.name, self.occurrence) + self.behind

    def __str__(self) -> str:
        return "{} {} {}".format(*self)


PROMPTS = [
    Point("prompts-seed.parquet.before_rename", -1),
    Point("prompts.parquet.after_rename", -1),
]
CLIPS = [Point("clip.before_rename", 20), Point("clip.before_rename", -10)]
FILES = [
    Point("clip.after_rename"),
    Point("unit-0000.safetensors.after_rename"),
    Point("texts-0000.safetensors.after_rename"),
    Point("LOCK.after_write"),
]
VOTES = [Point("votes-0000.parquet.after_rename"), Point("votes-0001.parquet.before_rename")]
PAIRS = [Point("preferences.parquet.before_rename"), Point("preferences.parquet.after_rename")]
TRAINING = [
    Point("checkpoint.before_rename", -1),
    Point("checkpoint.after_rename", -1),
    Point("transformer.after_rename", -1),
]
REFRESH = [Point("critic.before_rename", -1), Point("critic.after_rename", -1)]
SWAP = [Point("critic.after_rename", -1, 1), Point("critic.after_rename", -1, 2)]
REPORT = [
    Point("test.parquet.after_rename"),
    Point("signals.json.before_rename"),
    Point("report.html.after_rename"),
]
CURVE = Point("transformer.before_rename")  # every step of the alignment is behind
NAMED = [*PROMPTS, *CLIPS, *FILES, *VOTES, *PAIRS, *TRAINING, *REFRESH, *SWAP, *REPORT, CURVE]
REVERT = [Point("critic.after_rename", -1, behind) for behind in range(3)]
RECOVERED = (0.2, 0.9)  # the share of a run's hits at which it is killed the first time
EARLY = 2  # where a copy is compared with a kill


def spread(harness: Harness, place: int) -> int:
    """Return the hit at one of the places that are spread evenly over the run."""
    return 1 + (len(harness.names) - 1) * place // (NUM_SPREAD - 1)


@pytest.fixture(scope="module")
def run(harness: Harness, tmp_path_factory: pytest.TempPathFactory) -> Stopped:
    """Halt one run at every point of this module."""
    hits = {point.hit(harness) for point in NAMED}
    hits |= {spread(harness, place) for place in range(NUM_SPREAD)}
    hits |= {int(len(harness.names) * share) for share in RECOVERED}
    return stopped(harness, tmp_path_factory.mktemp("stopped"), hits)


@pytest.fixture(scope="module")
def reverted(reverting: Harness, tmp_path_factory: pytest.TempPathFactory) -> Stopped:
    """Halt the run that reverts its critic."""
    hits = {point.hit(reverting) for point in REVERT}
    return stopped(reverting, tmp_path_factory.mktemp("reverted"), hits)


def same(run: Stopped, point: Point) -> None:
    assert run.killed_at(point.hit(run.harness)) == run.harness.clean


@pytest.mark.parametrize("point", PROMPTS, ids=str)
def test_fault_01_killed_while_choosing_prompts(run: Stopped, point: Point) -> None:
    same(run, point)


@pytest.mark.parametrize("place", range(NUM_SPREAD))
def test_killed_anywhere(run: Stopped, place: int) -> None:
    hit = spread(run.harness, place)
    assert run.killed_at(hit) == run.harness.clean, run.harness.names[hit - 1]


@pytest.mark.parametrize("point", CLIPS, ids=str)
def test_fault_02_killed_while_sampling(run: Stopped, point: Point) -> None:
    same(run, point)


def test_a_halted_run_leaves_what_a_killed_one_leaves(run: Stopped) -> None:
    hit = spread(run.harness, EARLY)
    with harnesses.elsewhere(run.harness) as path, run.at(hit) as copied:
        assert harnesses.ended(run.harness.recipe(path), fail=f"kill@{hit}") == -signal.SIGKILL
        assert files(copied) == files(path)
        with harnesses.ledger_of(copied) as copy, harnesses.ledger_of(path) as ledger:
            assert copy.units() == ledger.units() and copy.files() == ledger.files()


def files(path: Path) -> dict[str, str]:
    """Return the hashes of published files, and the names of others without their random part."""
    inner = [file for file in path.rglob("*") if file.is_file()]
    own = {file.relative_to(path).as_posix(): file for file in inner}
    published = (".mp4", ".safetensors", ".parquet")
    return {
        name.rpartition("-")[2]: atomic.sha256_file(file) if name.endswith(published) else ""
        for name, file in own.items()
    }


@pytest.mark.parametrize("point", FILES, ids=str)
def test_fault_03_killed_between_a_file_and_its_row(run: Stopped, point: Point) -> None:
    same(run, point)


def test_fault_15_a_full_disk_stops_the_run_and_room_lets_it_go_on(run: Stopped) -> None:
    """Fill the disk under a clip, free it, fill it under a checkpoint, then under the ledger."""
    with run.at(CLIPS[1].hit(run.harness)) as path:
        for name in ("clip.before_rename", "checkpoint.before_rename", "ledger.before_commit"):
            assert ended(run.harness, path, errno.ENOSPC, name) == 1
            said = harnesses.log(path)
            assert "StorageError" in said and "Free that much" in said, said
        assert harnesses.ended(run.harness.recipe(path)) == 0
        assert harnesses.state(path) == run.harness.clean


def ended(harness: Harness, path: Path, number: int, name: str) -> int:
    """Run or resume with an error of the system at the first failpoint of this name."""
    errors: Iterator[None] = iter([None])

    def hit(passed: str) -> None:
        if passed == name and next(errors, True) is None:
            raise OSError(number, os.strerror(number), passed)

    def body() -> None:
        failpoints.hit = hit
        loop.run(harness.recipe(path), progress=PlainProgress())

    return harnesses.in_child(body, path=path)


@pytest.mark.parametrize("point", VOTES, ids=str)
def test_fault_04_killed_while_judging(run: Stopped, point: Point) -> None:
    same(run, point)


def test_fault_16_one_error_of_the_disk_is_retried(run: Stopped) -> None:
    with run.at(PAIRS[0].hit(run.harness)) as path:
        assert ended(run.harness, path, errno.EIO, PAIRS[0].name) == 0, harnesses.log(path)
        assert harnesses.state(path) == run.harness.clean


@pytest.mark.parametrize("point", PAIRS, ids=str)
def test_fault_05_killed_while_building_pairs(run: Stopped, point: Point) -> None:
    same(run, point)


# After a training's last checkpoint, the recovery restores it and publishes what it holds.
@pytest.mark.parametrize(("share", "again"), [(RECOVERED[0], 3), (None, 5), (RECOVERED[1], 2)])
def test_fault_09_killed_while_recovering(run: Stopped, share: float | None, again: int) -> None:
    last = Point("checkpoint.after_rename", -1).hit(run.harness)
    hit = last if share is None else int(len(run.harness.names) * share)
    assert run.killed_at(hit, again, again + 1) == run.harness.clean


@pytest.mark.parametrize("point", TRAINING, ids=str)
def test_fault_06_killed_in_a_training_stage(run: Stopped, point: Point) -> None:
    same(run, point)


def test_fault_93_a_power_cut_that_loses_the_curve_changes_no_signal(run: Stopped) -> None:
    with run.at(CURVE.hit(run.harness)) as path:
        (path / "metrics.jsonl").write_text("")
        assert harnesses.ended(run.harness.recipe(path)) == 0, harnesses.log(path)
        assert harnesses.state(path) == run.harness.clean


@pytest.mark.parametrize("point", REFRESH, ids=str)
def test_fault_07_killed_while_refreshing_the_critic(run: Stopped, point: Point) -> None:
    same(run, point)


@pytest.mark.parametrize("point", SWAP, ids=str)
def test_fault_07_killed_on_each_side_of_the_swap(run: Stopped, point: Point) -> None:
    """Behind the critic's folder come the transaction that swaps it, and its end."""
    assert run.harness.names[point.hit(run.harness) - 1].startswith("ledger.")
    same(run, point)


@pytest.mark.parametrize("point", REPORT, ids=str)
def test_fault_08_killed_in_evaluation_and_report(run: Stopped, point: Point) -> None:
    same(run, point)


@pytest.mark.parametrize("point", REVERT, ids=str)
def test_fault_33_killed_while_reverting(reverted: Stopped, point: Point) -> None:
    same(reverted, point)
