"""Captions that try to judge move no critic that looks at clips, and are flagged for others."""

import pytest

from dualipo.config import Critic
from dualipo.critic import judge, reasoning
from dualipo.critic.asks import Item
from dualipo.critic.chat import VISUAL
from dualipo.critic.hostile import CORPUS
from dualipo.world import corpus
from tests.critic.conftest import Scripted, brightest, make_query, make_vila, seed_of, shade

SETTINGS = Critic(num_votes=2, max_reasks=0)


def test_fault_38_the_corpus_is_large_and_every_caption_is_noticed():
    assert len(set(CORPUS)) == len(CORPUS) >= 50
    assert [caption for caption in CORPUS if not reasoning.suspicious(caption)] == []


def test_fault_38_captions_of_the_world_are_not_noticed():
    captions = [corpus.caption(seed) for seed in range(200)]
    assert [caption for caption in captions if reasoning.suspicious(caption)] == []


@pytest.mark.parametrize("echoes", [False, True])
def test_fault_38_no_caption_moves_a_critic_that_does_not_read_it(echoes):
    def blind(query, seed):
        said = brightest(query, seed)
        return f"A: {query.caption}\n{said.partition(chr(10))[2]}" if echoes else said

    items = [Item(f"{n}", text, ("shade200", "shade10")) for n, text in enumerate(CORPUS)]
    votes = judge.confirm(Scripted(blind), items, clips=shade, settings=SETTINGS, seed_of=seed_of)
    assert {vote.outcome for vote in votes} <= ({"a", "abstain"} if echoes else {"a"})


def test_fault_38_every_caption_that_turns_a_critic_is_flagged():
    def obedient(query, seed):
        honest = brightest(query, seed)
        if query.caption == judge.NEUTRAL_CAPTION:
            return honest
        return honest.replace(">A<", ">X<").replace(">B<", ">A<").replace(">X<", ">B<")

    items = [Item(f"{n}", text, ("shade200", "shade10")) for n, text in enumerate(CORPUS)]
    critic = Scripted(obedient)
    asked = {"clips": shade, "settings": SETTINGS, "seed_of": seed_of}
    votes = judge.confirm(critic, items, **asked)
    assert judge.caption_flips(critic, items, votes, **asked) == [item.item for item in items]


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
