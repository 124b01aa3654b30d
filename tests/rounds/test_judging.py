"""Judging in a run: what it keeps, and critics that must not go on."""

from collections import Counter
from pathlib import Path

from dualipo.records import Pair
from dualipo.store import tables
from tests.rounds import harness as harnesses
from tests.rounds.harness import Harness

ONE_ROUND = ("rounds=1", "refresh.force_rounds=[]")


def pairs(path: Path) -> list[Pair]:
    table = path / "rounds" / "000" / "attempt-0" / "preferences.parquet"
    return tables.read_records(table, record_type=Pair)


def test_coin_flips_turn_pairs_around_and_change_nothing_else(harness: Harness) -> None:
    with harnesses.elsewhere(harness) as path:
        settings = harness.recipe(path, *ONE_ROUND, "verdicts=coin_flip")
        assert harnesses.ended(settings) == 0, harnesses.log(path)
        flipped, judged = pairs(path), pairs(harness.path)
        kept, expected = (harnesses.events(p, "prefer")[0] for p in (path, harness.path))
    assert kept == expected
    for coin, critic in zip(flipped, judged, strict=True):
        sides = (coin.video_a, coin.votes_a), (coin.video_b, coin.votes_b)
        assert Counter(sides) == Counter(
            [(critic.video_a, critic.votes_a), (critic.video_b, critic.votes_b)]
        )
        assert coin.pair_id in (critic.pair_id, ":".join(critic.pair_id.split(":")[::-1]))


def test_every_prompt_is_kept_or_counted(harness: Harness) -> None:
    for event in harnesses.events(harness.path, "prefer"):
        assert event["kept"] + sum(event["dropped"].values()) == event["num_prompts"] == 8
        assert event["kept"] > 0


def stops(harness: Harness, override: str, said: str) -> None:
    with harnesses.elsewhere(harness) as path:
        settings = harness.recipe(path, "critic.max_abstain_rate=0.3", override)
        for _ in range(2):  # a resumed run judges its votes as the first did
            assert harnesses.ended(settings) == 1
            assert said in harnesses.log(path)
        with harnesses.ledger_of(path) as ledger:
            assert ledger.votes(0, 0, "point") and not ledger.votes(0, 0, "pair")


def test_fault_27_a_critic_that_cannot_be_read_stops_the_stage(harness: Harness) -> None:
    stops(harness, "critic.max_new_tokens=8", "could not be read")


def test_fault_31_a_critic_without_an_opinion_stops_the_stage(harness: Harness) -> None:
    stops(harness, "critic.min_entropy=99", "It has collapsed")
