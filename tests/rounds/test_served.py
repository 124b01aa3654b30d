"""A run whose critic is a server elsewhere: it judges, and nothing here learns."""

from operator import attrgetter
from typing import Any

from dualipo.events import MonitorEvent, PreferEvent, ServedEvent
from dualipo.rounds.run import SFT, SHIPPED, WARM
from dualipo.tracking import read_metrics
from tests.rounds import harness as harnesses
from tests.rounds.harness import Harness
from tests.servers import loopback

OWN = (
    "rounds=1",
    "refresh.force_rounds=[]",
    "refresh.update_critic=false",
    "monitor.num_accuracy_pairs=0",
    "critic.backend=server",
    "critic.server.max_retries=0",
)


def moody(body: dict[str, Any], count: int) -> Any:
    """Answer, but with an error to some of the questions about one clip."""
    unlucky = len(loopback.brightness(body)) == 1 and body.get("seed", 1) % 5 == 0
    return loopback.failing(500) if unlucky else loopback.sure(body, count)


def test_a_served_critic_judges_a_run_and_an_outage_is_resumed_elsewhere(harness: Harness) -> None:
    with harnesses.elsewhere(harness) as path:
        with loopback.serving(lambda body, count: loopback.failing(404)) as gone:
            settings = harness.recipe(path, *OWN, f"critic.server.base_url={gone.url}")
            assert harnesses.ended(settings) == 1
            assert "refuses to judge" in harnesses.log(path)
        with loopback.serving(moody) as server:
            moved = harness.recipe(
                path, *OWN, f"critic.server.base_url={server.url}", "critic.server.timeout=60"
            )
            assert harnesses.ended(moved) == 0, harnesses.log(path)
        lines = read_metrics(path / "metrics.jsonl")
        assert min(row["votes_per_second"] for row in lines if row["stage"] == "work.confirm") > 0
        (signals,) = [row for row in lines if row["stage"] == "round"]
        (monitored,) = harnesses.events(path, MonitorEvent)
        assert signals["win_rate"] == monitored.signals.win_rate
        outcome = harnesses.outcome(path)
        assert (signals["step"], signals["refresh"], signals["refreshed"]) == (0, outcome, 0.0)
        [event] = harnesses.events(path, PreferEvent)
        assert event.kept > 0 and event.mean_vote_share == 1.0
        served_units = harnesses.events(path, ServedEvent)
        assert {name for unit in served_units for name in unit.troubles} == {"broken"}
        assert "the served critic met" in harnesses.log(path)
        with harnesses.ledger_of(path) as ledger:
            served = [ledger.version("critic", name).sha256 for name in (SFT, WARM)]
            assert served[0] == served[1] == ledger.version("critic", SHIPPED).sha256


def mumbling(body: dict[str, Any], count: int) -> Any:
    """Answer questions about every second clip alone without a grade, however often asked."""
    shown = loopback.brightness(body)
    is_unlucky = len(shown) == 1 and round(1e4 * shown[0]) % 2 == 0
    return "I cannot tell." if is_unlucky else loopback.sure(body, count)


def test_unread_answers_are_asked_for_again_and_the_others_kept(harness: Harness) -> None:
    with harnesses.elsewhere(harness) as path:
        strict = (*OWN, "critic.max_abstain_rate=0.05", "critic.max_reasks=0")
        with loopback.serving(mumbling) as server:
            settings = harness.recipe(path, *strict, f"critic.server.base_url={server.url}")
            assert harnesses.ended(settings) == 1
            assert "an answer: 'I cannot tell.'" in harnesses.log(path)
            assert "--retry-abstained" in harnesses.log(path)
        with harnesses.ledger_of(path) as ledger:
            before = ledger.votes(0, 0, "point")
        unread = [vote for vote in before if vote.outcome == "abstain"]
        assert 0 < len(unread) < len(before)
        with loopback.serving(loopback.sure) as server:
            moved = harness.recipe(path, *strict, f"critic.server.base_url={server.url}")
            assert harnesses.ended(moved) == 1, "what was not read stays so"
            assert not server.requests
            assert harnesses.ended(moved, again="abstained") == 0, harnesses.log(path)
            assert f"asks for {len(unread)} unreadable answers again" in harnesses.log(path)
            alone = [body for _, _, body in server.requests if len(loopback.brightness(body)) == 1]
        with harnesses.ledger_of(path) as ledger:
            votes = ledger.votes(0, 0, "point")
        assert len(alone) == len(unread)
        place = attrgetter("item", "dimension", "order", "draw")
        assert {*map(place, votes)} == {*map(place, before)}
        assert {vote for vote in before if vote.outcome != "abstain"} < {*votes}
        assert not [vote for vote in votes if vote.outcome == "abstain"]
