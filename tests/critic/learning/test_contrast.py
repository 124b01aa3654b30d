"""Labelled pairs become preferences between the critic's own answers."""

from dataclasses import replace

from dualipo.critic import reasoning
from dualipo.critic.learning import contrast
from dualipo.critic.learning.preference import PathPair
from tests.critic.conftest import SETTINGS, Scripted, brightest, pair, seed_of, shade


def made(critic, *pairs) -> list[PathPair]:
    return contrast.path_pairs(
        critic, pairs, clips=shade, num_paths=4, settings=SETTINGS, seed_of=seed_of
    )


def answer(label: str) -> str:
    return f"A: light\nB: dark\n<verdict>{label}</verdict>"


def verdict(text: str) -> str:
    return reasoning.parse(text, "pair", truncated=False).outcome


def test_a_critic_of_two_minds_gives_both_answers() -> None:
    torn = Scripted(lambda query, seed: answer("AB"[seed % 2]))
    [made_pair] = made(torn, pair(0))
    assert (made_pair.winner, made_pair.loser) == (answer("A"), answer("B"))
    assert made_pair.weight == 1.0 and made_pair.ask.item_id == "pair0"


def test_a_critic_that_is_always_right_or_always_wrong_says_the_same_of_the_other_clip() -> None:
    for label, wins in ((pair(0), "a"), (pair(1, "b"), "b"), (replace(pair(2), verdict="b"), "b")):
        [made_pair] = made(Scripted(brightest), label)
        assert verdict(made_pair.winner) == wins
        assert made_pair.loser == reasoning.swap(made_pair.winner)


def test_ties_and_answers_that_cannot_be_read_make_no_pair() -> None:
    assert made(Scripted(brightest), pair(0, "tie"), pair(1, "a", "overall")) == []
    assert made(Scripted(lambda query, seed: answer("tie")), pair(0)) == []
    assert made(Scripted(lambda query, seed: "I like both."), pair(0)) == []
