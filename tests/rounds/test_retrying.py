"""Unreadable answers are asked for again: they alone, and as well after a kill."""

import shutil
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from operator import attrgetter
from pathlib import Path
from typing import Any

import pytest

from dualipo.config import Config
from dualipo.events import AlignEvent, MonitorEvent
from dualipo.records import Vote
from tests.rounds import harness as harnesses
from tests.rounds.harness import Harness, State
from tests.rounds.test_served import OWN
from tests.servers import loopback

STRICT = (
    *OWN,
    "critic.max_abstain_rate=0.05",
    "critic.max_reasks=0",
    "generator.keep_latents=true",
)


def mumbling(body: dict[str, Any], count: int) -> Any:
    """Answer questions about every second clip alone without a grade, however often asked."""
    shown = loopback.brightness(body)
    is_unlucky = len(shown) == 1 and round(1e4 * shown[0]) % 2 == 0
    return "I cannot tell." if is_unlucky else loopback.sure(body, count)


def settings_of(harness: Harness, path: Path, server: Any) -> Config:
    return harness.recipe(path, *STRICT, f"critic.server.base_url={server.url}")


@pytest.fixture(scope="module")
def unread(harness: Harness) -> Iterator[Path]:
    """Begin a run that stops at grades that cannot be read."""
    with harnesses.elsewhere(harness) as path, loopback.serving(mumbling) as server:
        assert harnesses.ended(settings_of(harness, path, server)) == 1
        assert "an answer: 'I cannot tell.'" in harnesses.log(path)
        assert "--retry-abstained" in harnesses.log(path)
        yield path


@pytest.fixture(scope="module")
def without_wins(harness: Harness) -> Iterator[Path]:
    """End a run whose server went down once the generator was aligned."""
    with harnesses.elsewhere(harness) as path:

        def dying(body: dict[str, Any], count: int) -> Any:
            aligned = list(path.glob("rounds/000/attempt-0/generator/transformer"))
            return loopback.failing(500) if aligned else loopback.sure(body, count)

        with loopback.serving(dying) as server:
            assert harnesses.ended(settings_of(harness, path, server)) == 0, harnesses.log(path)
        assert "--retry-abstained" in harnesses.log(path)
        yield path


@contextmanager
def again(harness: Harness, stopped: Path) -> Iterator[tuple[Path, Config, Any]]:
    """Copy a run, and serve a critic that answers everything."""
    with harnesses.elsewhere(harness) as path, loopback.serving(loopback.sure) as server:
        shutil.copytree(stopped, path)
        yield path, settings_of(harness, path, server), server


def point_votes(path: Path) -> list[Vote]:
    with harnesses.ledger_of(path) as ledger:
        return ledger.votes(0, 0, "point")


def test_unread_answers_are_asked_for_again_and_the_others_kept(
    harness: Harness, unread: Path
) -> None:
    before = point_votes(unread)
    missing = [vote for vote in before if vote.outcome == "abstain"]
    assert 0 < len(missing) < len(before)
    with again(harness, unread) as (path, settings, server):
        assert harnesses.ended(settings) == 1, "what was not read stays so"
        assert not server.requests
        assert harnesses.ended(settings, again="abstained") == 0, harnesses.log(path)
        assert f"asks for {len(missing)} unreadable answers again" in harnesses.log(path)
        alone = [body for _, _, body in server.requests if len(loopback.brightness(body)) == 1]
        votes = point_votes(path)
    assert len(alone) == len(missing)
    place = attrgetter("item", "dimension", "order", "draw")
    assert {*map(place, votes)} == {*map(place, before)}
    assert {vote for vote in before if vote.outcome != "abstain"} < {*votes}
    assert not [vote for vote in votes if vote.outcome == "abstain"]


def test_a_win_rate_is_asked_for_again_and_the_generator_stays(
    harness: Harness, without_wins: Path
) -> None:
    (aligned,), (unknown,) = (harnesses.events(without_wins, e) for e in (AlignEvent, MonitorEvent))
    assert unknown.signals.win_rate is None
    with again(harness, without_wins) as (path, settings, server):
        assert harnesses.ended(settings, again="abstained") == 0, harnesses.log(path)
        assert harnesses.events(path, AlignEvent) == [aligned]
        (known,) = harnesses.events(path, MonitorEvent)
        assert known.signals.win_rate is not None
        assert all(len(loopback.brightness(body)) == 2 for _, _, body in server.requests)
        num_asked = len(server.requests)
        # Nothing is unread any more: the same command goes on, and has nothing to do.
        ended = harnesses.state(path)
        assert harnesses.ended(settings, again="abstained") == 0, harnesses.log(path)
        assert harnesses.state(path) == ended and len(server.requests) == num_asked > 0
        # Answers about another generator's clips are not taken for those about this one's.
        assert harnesses.ended(settings, again="align") == 0, harnesses.log(path)
        assert len(server.requests) == 2 * num_asked


@pytest.mark.slow
def test_fault_64_a_retry_that_was_killed_and_repeated_is_one_that_was_not(
    harness: Harness, unread: Path
) -> None:
    names = unread.with_name("names")

    def retried(*points: int) -> State:
        with again(harness, unread) as (path, settings, _):
            for point in points:
                code = harnesses.ended(settings, again="abstained", fail=f"kill@{point}")
                assert code == -signal.SIGKILL, harnesses.log(path)
            fail = "" if points else f"count@{names}"
            assert harnesses.ended(settings, again="abstained", fail=fail) == 0, harnesses.log(path)
            return harnesses.state(path)

    clean = retried()
    passed = names.read_text().split()
    kept = next(n for n, name in enumerate(passed, 1) if name.startswith("answered-"))
    gone = 1 + passed.index("ledger.before_commit")
    shard = next(n for n, name in enumerate(passed, 1) if name.startswith("votes-"))
    assert kept < gone < shard
    # Before the answers are kept; before the transaction; after it; while the critic is asked.
    asking = shard - (gone - kept + 1) + 4  # nothing is thrown away any more, and a unit is done
    assert retried(kept, gone, gone + 1, asking) == clean
