"""A run whose critic is a server elsewhere: it judges, and nothing here learns."""

from dualipo.rounds import warming
from tests.critic import loopback
from tests.rounds import harness as harnesses
from tests.rounds.harness import Harness


def test_a_served_critic_judges_a_run_and_an_outage_is_resumed(harness: Harness) -> None:
    with harnesses.elsewhere(harness) as path, loopback.serving(loopback.sure) as server:
        settings = harness.recipe(
            path,
            "rounds=1",
            "refresh.force_rounds=[]",
            "refresh.update_critic=false",
            "monitor.num_accuracy_pairs=0",
            "critic.backend=server",
            "critic.server.max_retries=0",
            f"critic.server.base_url={server.url}",
        )
        server.say = lambda body, count: loopback.failing(404)
        assert harnesses.ended(settings) == 1
        assert "refuses to judge" in harnesses.log(path)
        server.say = loopback.sure
        assert harnesses.ended(settings) == 0, harnesses.log(path)
        [event] = harnesses.events(path, "prefer")
        assert event["kept"] > 0 and event["mean_vote_share"] == 1.0
        with harnesses.ledger_of(path) as ledger:
            served = [ledger.version("critic", name).sha256 for name in (warming.SFT, warming.WARM)]
            assert served[0] == served[1] == ledger.version("critic", warming.SHIPPED).sha256
