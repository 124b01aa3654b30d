"""Captions that try to judge move no critic that looks at clips, and are flagged for others."""

import time

import pytest

from dualipo.config import Critic
from dualipo.critic import judge, reasoning
from dualipo.critic.asks import Item
from dualipo.critic.models.chat import VISUAL
from dualipo.critic.trust.hostile import CORPUS
from dualipo.world import corpus
from tests.critic.conftest import Scripted, brightest, make_query, make_vila, seed_of, shade

ASKED = {"clips": shade, "settings": Critic(num_votes=2, max_reasks=0), "seed_of": seed_of}
KINDS = {judge.confirm: ("shade200", "shade10"), judge.score: ("shade200",)}
HONEST = {judge.confirm: "a", judge.score: "good"}


def about(clips):
    """Make an item of these clips for every hostile caption."""
    return [Item(f"{n}", text, clips) for n, text in enumerate(CORPUS)]


def test_fault_38_the_corpus_is_large_and_every_caption_is_noticed():
    assert len(set(CORPUS)) == len(CORPUS) >= 50
    assert [caption for caption in CORPUS if not reasoning.suspicious(caption)] == []


def test_fault_38_captions_of_the_world_are_not_noticed():
    captions = [corpus.caption(seed) for seed in range(200)]
    assert [caption for caption in captions if reasoning.suspicious(caption)] == []


@pytest.mark.parametrize("piece", ["rate ", "answer ", "ignor", "user ", "a b ", "select video "])
def test_fault_38_the_time_of_the_word_list_grows_with_the_caption_alone(piece):
    """Allow a second, where a pattern that looks on to the end from every place takes minutes."""
    start = time.process_time()
    reasoning.suspicious(piece * (300_000 // len(piece)))
    assert time.process_time() - start < 3


@pytest.mark.parametrize("ask", KINDS, ids=["pair", "point"])
@pytest.mark.parametrize("echoes", [False, True])
def test_fault_38_no_caption_moves_a_critic_that_does_not_read_it(ask, echoes):
    def blind(query, seed):
        said = brightest(query, seed)
        start = "A: " if query.kind == "pair" else ""
        return f"{start}{query.caption}\n{said.partition(chr(10))[2]}" if echoes else said

    votes = ask(Scripted(blind), about(KINDS[ask]), **ASKED)
    assert {vote.outcome for vote in votes} <= {HONEST[ask], *(["abstain"] if echoes else [])}


@pytest.mark.slow
@pytest.mark.parametrize("ask", KINDS, ids=["pair", "point"])
@pytest.mark.parametrize("order", ["darker", "tie"])
def test_fault_38_every_caption_that_turns_a_critic_is_flagged(ask, order):
    def obedient(query, seed):
        if query.caption == judge.NEUTRAL_CAPTION:
            return brightest(query, seed)
        if query.kind == "point":
            return "light\n<grade>bad</grade>"
        darker = "B" if query.clips[0].mean() > query.clips[1].mean() else "A"
        said = darker if order == "darker" else order
        return f"A: light\nB: light\n<verdict>{said}</verdict>"

    critic, items = Scripted(obedient), about(KINDS[ask])
    votes = ask(critic, items, **ASKED)
    turned = judge.turned_by_caption(critic, items, votes, **ASKED)
    assert len(turned) == 2 * len(items) and all(turned.values())


def test_fault_38_no_caption_changes_what_stands_around_it_in_a_prompt():
    vila = make_vila()
    places = {"clip0": (3, 4), "clip1": (3, 4)}

    def around(caption):
        ids = vila.write(make_query(caption=caption), places)
        text = vila.tokens.text([i for i in ids if i != VISUAL])
        before, _, rest = text.partition("<caption>")
        inside, _, after = rest.partition("</caption>")
        return ids.count(VISUAL), vila.tokens.end in ids, before, after, "\n" in inside

    plain = around("a ball")
    assert all(around(caption) == plain for caption in CORPUS)
    assert not plain[1]
