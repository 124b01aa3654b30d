"""A run whose critic is a server elsewhere: it judges, and nothing here learns."""

from typing import Any

from dualipo.evaluation import summary
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


def speechless(body: dict[str, Any], count: int) -> Any:
    """Grade single clips, and say nothing that compares two."""
    return "hm" if len(loopback.brightness(body)) == 2 else loopback.sure(body, count)


def test_fault_27_a_critic_that_cannot_be_read_stops_the_run_before_its_clips_are_made(
    harness: Harness,
) -> None:
    with harnesses.elsewhere(harness) as path, loopback.serving(speechless) as server:
        own = (*OWN, "critic.max_abstain_rate=0.05", f"critic.server.base_url={server.url}")
        assert harnesses.ended(harness.recipe(path, *own)) == 1
        said = harnesses.log(path)
        assert "0% of its 4 answers about held-out labels could be read" in said
        assert "so no clips are made for it" in said and "an answer: 'hm'" in said
        failed = summary.as_dict(path)["failed"]
        assert failed is not None and failed.startswith("failed at check (round 0, attempt 0)")
        with harnesses.ledger_of(path) as ledger:
            stages = {unit.stage for unit in ledger.units() if unit.stage != "sample.seed"}
        assert not {stage for stage in stages if stage.startswith(("sample", "check"))}
        # Nothing of the check was kept: with another critic the same run goes on.
        server.say = loopback.sure
        assert harnesses.ended(harness.recipe(path, *own, "rounds=0")) == 0, harnesses.log(path)
