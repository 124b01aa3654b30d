"""Tests which items people are asked, in which order, and which checks come in between."""

from dataclasses import replace

import pytest

from dualipo.errors import DataError
from dualipo.preferences import label_queue
from dualipo.preferences.label_queue import Mix
from dualipo.records import Candidate, Pair, Vote
from dualipo.store.labels import QueueItem

NO_CHECKS = Mix(repeats=0, gold=0)


@pytest.fixture
def candidates() -> list[Candidate]:
    return [
        Candidate(f"c{p}-{k}", f"p{p}", f"caption {p}", k, 0, k, f"{p}{k}clip", "base", 0)
        for p in range(5)
        for k in range(4)
    ]


def votes(item: str, straight: str, swapped: str) -> list[Vote]:
    sides = {"a": "a", "b": "b", "t": "tie", "x": "abstain"}
    return [
        Vote(item, "motion", order, draw, sides[letter], 0.0, "")
        for order, letters in (("ab", straight), ("ba", swapped))
        for draw, letter in enumerate(letters)
    ]


def queue_items(num: int, **changes: object) -> list[QueueItem]:
    blank = QueueItem("", 0.0, 1, False, 0, 0, (), False)
    return [replace(blank, item_id=f"i{n}", **changes) for n in range(num)]


def test_pairs_are_spread_over_prompts(candidates):
    for num in (5, 12, 30):
        items = label_queue.pair_items(candidates, num=num, seed=3)
        counts = [sum(item.prompt_id == f"p{p}" for item in items) for p in range(5)]
        assert len(items) == len({item.item_id for item in items}) == num
        assert max(counts) - min(counts) <= 1
    assert label_queue.pair_items(candidates, num=9, seed=4) != label_queue.pair_items(
        candidates, num=9, seed=3
    )
    assert all(item.clip_a < item.clip_b for item in items)


def test_uncertainty_is_zero_for_one_voice_and_grows_with_doubt():
    doubts = label_queue.uncertainty(
        votes("sure", "aaaa", "aaaa")
        + votes("leaning", "aaab", "aaab")
        + votes("split", "aabb", "aabb")
        + votes("silent", "xxxx", "xxxx")
        + votes("by side", "aaaa", "bbbb")
    )
    assert doubts["sure"] == 0
    assert doubts["leaning"] == pytest.approx(0.25)
    assert doubts["split"] == pytest.approx(0.5)
    assert doubts["silent"] == 1
    assert doubts["by side"] == pytest.approx(1.5), "half the votes lacking, and the order decides"


def test_the_most_uncertain_pair_is_asked_first(candidates):
    asked = label_queue.uncertain_items(
        candidates,
        votes("c0-0:c0-1", "aaaa", "aaaa")
        + votes("c1-0:c1-1", "aabb", "abab")
        + votes("c9-0:c9-1", "abab", "baba"),  # of another round: not ours to ask
    )
    assert [item.prompt_id for item in asked] == ["p1", "p0"]
    seats = [
        replace(item, item_id=i.item_id, priority=i.priority)
        for item, i in zip(queue_items(2), asked, strict=True)
    ]
    chosen = label_queue.choose_next("ada", 0, list(reversed(seats)), seed=1, mix=NO_CHECKS)
    assert chosen is not None and chosen.item_id == asked[0].item_id


def test_people_are_asked_where_the_critic_disagrees_with_itself(candidates):
    pairs = label_queue.pair_items(candidates, num=4, seed=3)
    sure, split, by_side, leaning = (pair.item_id for pair in pairs)
    cast = votes(sure, "aaaa", "aaaa") + votes(split, "aabb", "aabb")
    cast += votes(by_side, "aaaa", "bbbb") + votes(leaning, "aaab", "aaab")
    asked = label_queue.disputed(pairs, cast, num=2)
    assert {item.item_id for item in asked} == {split, by_side}
    assert label_queue.disputed(pairs, [], num=2) == pairs[:2], "without votes, in their order"


def test_everyone_has_an_order_of_their_own():
    def order(annotator: str) -> list[tuple[str, bool]]:
        left, asked = queue_items(12), []
        while choice := label_queue.choose_next(annotator, len(asked), left, seed=1, mix=NO_CHECKS):
            asked.append((choice.item_id, choice.is_swapped))
            left = [item for item in left if item.item_id != choice.item_id]
        return asked

    assert order("ada") == order("ada") != order("ben")
    assert len(order("ada")) == 12 and {swapped for _, swapped in order("ada")} == {True, False}


def test_quotas_are_kept_until_somebody_leaves():
    taken = queue_items(3, num_taken=1)
    choice = label_queue.choose_next("ada", 0, taken, seed=1, mix=NO_CHECKS)
    assert choice is not None, "taken, but nobody answered: it is handed on"
    assert (
        label_queue.choose_next(
            "ada", 0, queue_items(3, num_taken=1, num_done=1), seed=1, mix=NO_CHECKS
        )
        is None
    )
    assert label_queue.num_left(queue_items(3, num_taken=1)) == 3
    assert label_queue.num_left(queue_items(3, seen_at=(0,))) == 0


def test_checks_come_at_their_share_and_not_too_soon():
    mix = Mix(repeats=0.2, gold=0.1, least_distance=8)
    seen = [replace(item, seen_at=(n,)) for n, item in enumerate(queue_items(50))]
    gold = [
        replace(item, item_id=f"gold{n}", is_gold=True) for n, item in enumerate(queue_items(99))
    ]
    fresh = [replace(item, item_id=f"new{n}") for n, item in enumerate(queue_items(9))]
    drawn = [
        label_queue.choose_next("ada", 50 + n, [*seen, *gold, *fresh], seed=5, mix=mix)
        for n in range(500)
    ]
    assert 70 < sum(choice.is_repeat for choice in drawn if choice) < 130
    assert 25 < sum(choice.item_id.startswith("gold") for choice in drawn if choice) < 75
    soon = [
        label_queue.choose_next("ada", n, [*seen[:n], *fresh], seed=5, mix=mix) for n in range(9)
    ]
    assert not any(choice.is_repeat for choice in soon[:8] if choice)


def test_gold_is_spelled_like_the_items_it_checks(candidates):
    (item, *_) = label_queue.pair_items(candidates, num=1, seed=1)
    known = Pair(
        "g", item.prompt_id, item.caption, item.clip_b, item.clip_a, "motion", "a", "human", "x"
    )
    (gold,) = label_queue.gold_items([known])
    assert gold.item_id == item.item_id and gold.gold == {"motion": "b"}, "A and B were exchanged"
    with pytest.raises(DataError, match="two answers about"):
        label_queue.gold_items([known, replace(known, verdict="b")])
