"""A critic that learns here and judges at servers of its own, one of which is killed."""

import json
import sys
from pathlib import Path

import pytest

from dualipo.events import ServedEvent
from dualipo.records import Vote
from dualipo.rounds.run import WARM
from dualipo.served_events import ServingEvent
from dualipo.store import tables
from tests.rounds import harness as harnesses
from tests.rounds.harness import Harness
from tests.servers import scripted_engine

OWN = (
    "rounds=1",
    "critic.reader=tolerant",
    "critic.judge_batch_size=12",
    "critic.serving.num_servers=2",
    "critic.serving.num_parity_items=2",
    "critic.server.max_retries=0",
)


def served(harness: Harness, path: Path, *own: str) -> int:
    command = [sys.executable, scripted_engine.__file__, "{port}", "{model}", *own[:1]]
    settings = (*OWN, f"critic.serving.command={json.dumps(command)}", *own[1:])
    return harnesses.ended(harness.recipe(path, *settings))


@pytest.mark.slow
def test_fault_98_each_version_has_its_servers_and_one_killed_in_the_middle_loses_no_vote(
    harness: Harness,
) -> None:
    with harnesses.elsewhere(harness) as path:
        assert served(harness, path, "") == 1, "a script does not judge as the weights do"
        assert "does not judge as the critic's weights do" in harnesses.log(path)
        notes = path.parent
        assert served(harness, path, str(notes), "critic.serving.max_parity_gap=1") == 0, (
            harnesses.log(path)
        )
        assert (notes / "killed").exists()
        assert "of the critic's servers died and are started again" in harnesses.log(path)
        shards = sorted(path.glob("rounds/*/*/*/votes-*.parquet"))
        votes = [vote for shard in shards for vote in tables.read_records(shard, record_type=Vote)]
        assert votes and {vote.outcome for vote in votes} <= {"a", "b", "good", "bad"}
        assert harnesses.events(path, ServedEvent) == []
        events = harnesses.events(path, ServingEvent)
        with harnesses.ledger_of(path) as ledger:
            weights = {ledger.version("critic", name).sha256 for name in (WARM, "c000.0")}
        assert {event.sha256 for event in events} == weights and len(weights) == 2
        assert {event.num_servers for event in events} == {2}
        assert len(events) == len(shards)
