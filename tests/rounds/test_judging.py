"""Judging in a run: what it keeps, and critics that must not go on."""

import math
from collections import Counter
from pathlib import Path

from dualipo.events import ConfirmEvent, PreferEvent, ScoreEvent
from dualipo.records import Pair
from dualipo.rounds import preferring
from dualipo.store import tables
from dualipo.store.clips import ClipStore
from dualipo.store.ledger import Unit
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
        kept, expected = (harnesses.events(p, PreferEvent)[0] for p in (path, harness.path))
    assert kept == expected
    for coin, critic in zip(flipped, judged, strict=True):
        sides = (coin.video_a, coin.votes_a), (coin.video_b, coin.votes_b)
        assert Counter(sides) == Counter(
            [(critic.video_a, critic.votes_a), (critic.video_b, critic.votes_b)]
        )
        assert {coin.video_a, coin.video_b} == {critic.video_a, critic.video_b}


def test_every_prompt_is_kept_or_counted(harness: Harness) -> None:
    for event in harnesses.events(harness.path, PreferEvent):
        assert event.kept + sum(event.dropped.values()) == event.num_prompts == 8
        assert event.kept > 0


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


def test_fault_31_a_critic_of_one_place_stops_before_anything_is_preferred(
    harness: Harness,
) -> None:
    with harnesses.elsewhere(harness) as path:
        assert harnesses.ended(harness.recipe(path, "critic.max_position_share=0.501")) == 1
        assert "times it prefers the" in harnesses.log(path)
        with harnesses.ledger_of(path) as ledger:
            assert ledger.votes(0, 0, "pair") and not ledger.is_done(Unit(0, 0, "judged"))


def test_what_the_votes_agree_on_is_recorded(harness: Harness) -> None:
    for event in harnesses.events(harness.path, ConfirmEvent):
        assert 0 < event.mean_entropy <= math.log(3)
        assert 0 < event.mean_order_agreement < 1 and 0 < event.mean_vote_share < 1


def test_fault_21_short_clips_are_counted_where_they_are_scored(harness: Harness) -> None:
    with harnesses.ledger_of(harness.path) as ledger:
        clips = {candidate.clip for candidate in ledger.candidates(0)}
    store = ClipStore(harness.path / "clips")
    assert preferring.count_short(store, clips, num_wanted=9) == 0
    assert preferring.count_short(store, clips, num_wanted=10) == len(clips) > 0
    assert {event.num_short for event in harnesses.events(harness.path, ScoreEvent)} == {0}
