import itertools
import math

import pytest

from dualipo.critic import voting
from dualipo.records import Vote


def votes(ab: str, ba: str = ""):
    names = {"a": "a", "b": "b", "t": "tie", "-": "abstain"}
    return [
        Vote("x", "motion", order, draw, names[letter], -1.0, "")
        for order, letters in (("ab", ab), ("ba", ba))
        for draw, letter in enumerate(letters)
    ]


@pytest.mark.parametrize(
    ("ab", "ba", "majority", "share", "agreement"),
    [
        ("aaaa", "aaaa", "a", 1.0, 1.0),
        ("aaab", "aaaa", "a", 7 / 8, 0.75),
        ("a---", "aa--", "a", 3 / 8, 1.0),  # abstentions stay in the denominator
        ("----", "----", "abstain", 0.0, 0.0),
        ("aaaa", "----", "a", 0.5, 0.0),
        ("ttta", "ttab", "tie", 5 / 8, 0.75),
    ],
)
def test_majority_share_and_agreement(ab, ba, majority, share, agreement):
    tally = voting.tally(votes(ab, ba))
    assert (tally.majority, tally.share, tally.order_agreement) == (majority, share, agreement)


def test_fault_29_equal_votes_are_a_tie():
    tally = voting.tally(votes("aaa", "bbb"))
    assert (tally.majority, tally.share) == ("tie", 0.5)
    assert tally.entropy == pytest.approx(math.log(2))


def test_fault_30_a_verdict_that_follows_the_order_has_no_certainty():
    assert voting.tally(votes("aaaa", "bbbb")).certainty == 0.0
    assert voting.tally(votes("aaaa", "aaaa")).certainty == 1.0
    with_silence = voting.tally(votes("aaaa", "bbb-"))
    assert (with_silence.majority, with_silence.share) == ("a", 0.5)  # too few to keep


def test_swapping_the_clips_mirrors_the_tally():
    tally, mirror = voting.tally(votes("aabt", "aaa-")), voting.tally(votes("bbat", "bbb-"))
    assert (tally.a, tally.b) == (mirror.b, mirror.a)
    assert (tally.majority, mirror.majority) == ("a", "b")
    assert (tally.certainty, tally.entropy) == (mirror.certainty, mirror.entropy)


@pytest.mark.parametrize("keep", [0.6, 0.75, 1.0])
def test_votes_are_settled_exactly_when_no_ending_changes_the_decision(keep):
    num_planned = 5
    endings = ["".join(letters) for letters in itertools.product("abt-", repeat=num_planned)]

    def decision(letters):
        tally = voting.tally(votes(letters))
        return tally.majority, tally.share >= keep, tally.share >= 0.5

    for length in range(num_planned + 1):
        for letters in itertools.product("abt-", repeat=length):
            begun = "".join(letters)
            ends = {decision(whole) for whole in endings if whole.startswith(begun)}
            settled = voting.settled(
                votes(begun), num_planned=num_planned, least_shares=(keep, 0.5)
            )
            assert settled == (len(ends) == 1), begun


def soft(order, draw, outcome, probabilities):
    return Vote("x", "motion", order, draw, outcome, -1.0, "", probabilities=probabilities)


def test_soft_votes_count_the_mean_probability_over_paths_and_both_orders():
    cast = [
        soft("ab", 0, "b", (0.4, 0.6, 0.0)),
        soft("ab", 1, "a", (0.9, 0.1, 0.0)),
        soft("ba", 0, "b", (0.45, 0.55, 0.0)),
        soft("ba", 1, "b", (0.45, 0.5, 0.05)),
    ]
    tally = voting.tally(cast)
    assert (tally.a, tally.b) == (1, 3)  # by hard votes B wins
    assert tally.majority == "a" and tally.share == pytest.approx((0.4 + 0.9 + 0.45 + 0.45) / 4)
    assert tally.order_agreement == pytest.approx(0.45 + 0.35)
    silent = voting.tally([*cast, soft("ab", 2, "abstain", None)])
    assert silent.share == pytest.approx(tally.share * 4 / 5)


@pytest.mark.parametrize("letters", ["aab-", "tttb", "abab", "----"])
def test_a_certain_soft_vote_counts_as_a_hard_one(letters):
    hard = votes(letters, letters)
    certain = {"a": (1.0, 0.0, 0.0), "b": (0.0, 1.0, 0.0), "tie": (0.0, 0.0, 1.0)}
    cast = [soft(v.order, v.draw, v.outcome, certain.get(v.outcome)) for v in hard]
    assert voting.tally(cast) == voting.tally(hard)


def test_soft_votes_are_settled_only_where_no_probabilities_change_the_decision():
    sure, close = (0.9, 0.1, 0.0), (0.55, 0.45, 0.0)
    for probabilities, settled in ((sure, True), (close, False)):
        cast = [soft("ab", draw, "a", probabilities) for draw in range(3)]
        assert voting.settled(cast, num_planned=4, least_shares=()) == settled
