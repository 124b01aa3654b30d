"""The scripted answers, spoken by whole critics: drawn as tokens, decoded, read, counted as votes.

tests/critic/test_tolerant.py tests the reader on texts. Here a tiny Qwen2.5-VL and a tiny
LLaVA-OneVision are asked about real clips in the questions for real video. Only which token a path
takes is scripted, by the path's own uniform numbers: what a model writes is no random weights' to
say, and all the rest is the shipped code.
"""

import random
from collections.abc import Iterator, Sequence

import pytest
import torch
from torch import Tensor

from dualipo.config import Critic
from dualipo.critic import judge, reasoning
from dualipo.critic.asks import Item, asks_about
from dualipo.critic.models import decode
from dualipo.critic.models.transformers_vlm import TransformersVlm
from dualipo.critic.vlm import Kind
from dualipo.records import Vote
from tests.critic import vlms
from tests.critic.conftest import make_tokenizer, seed_of, shade
from tests.critic.test_tolerant import ANSWERS, CAPTION, VIDEO, clear_answers

KINDS = ("qwen2_5_vl", "llava_onevision")
SETTINGS = Critic(
    questions=VIDEO,
    reader="tolerant",
    max_frames=2,
    max_pixels=1024,
    max_new_tokens=100,
    max_reasks=0,
    judge_batch_size=64,
    num_votes=8,
    num_score_paths=4,
)
NUM_CLEAR, NUM_UNCLEAR = 100, 50  # of pairs, and of single clips
# Of Qwen's tokenizer: thoughts are tokens, but no special ones.
SPECIAL, PLAIN = ["<|im_start|>", "<|im_end|>"], ["<think>", "</think>"]

Place = tuple[str, str, str, int]
Answer = tuple[str, str]  # the text, and the label that it states


def scripted(kind: Kind, rng: random.Random) -> list[Answer]:
    """Return answers of one kind by length: with one clear label, and such as have to abstain."""
    clear = [(text, label) for of, text, label in clear_answers() if of == kind]
    unclear = [(text, "abstain") for text in ANSWERS[f"unclear_{kind}"]]
    chosen = rng.sample(clear, NUM_CLEAR) + rng.sample(unclear, NUM_UNCLEAR)
    return sorted(chosen, key=lambda answer: len(answer[0]))  # a batch runs on to its longest


@pytest.fixture(params=KINDS)
def critic(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> TransformersVlm:
    corpus = [text for _, text, _ in clear_answers()]
    asked = [VIDEO.question(kind, "motion") for kind in ("pair", "point")]
    tokenizer = make_tokenizer(corpus + 9 * asked, vocab_size=1500)
    tokenizer.add_special_tokens({"additional_special_tokens": SPECIAL})
    tokenizer.add_tokens(PLAIN)
    monkeypatch.setitem(vlms.TEXT, "vocab_size", len(tokenizer))
    critic = TransformersVlm(vlms.make(request.param), tokenizer=tokenizer, settings=SETTINGS)
    critic.freeze()
    return critic


def speak(
    critic: TransformersVlm, answers: dict[Place, Answer], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Let the critic's paths take the tokens of the answers, with either end of a turn."""
    token_at: dict[float, int] = {}
    for number, (place, (text, _)) in enumerate(answers.items()):
        ids = [*critic.tokens.encode(text), critic.tokens.ends[number % len(critic.tokens.ends)]]
        [drawn_T] = decode.uniforms([seed_of(*place, 0)], max_new_tokens=SETTINGS.max_new_tokens)
        token_at |= zip(drawn_T.tolist(), ids, strict=False)

    [behind] = critic.tokens.encode("B")  # what a path that has ended would say

    def take(log_probs_UJV: Tensor, temperature: float, uniform_UJ: Tensor) -> Tensor:
        rows = [[token_at.get(point, behind) for point in row] for row in uniform_UJ.tolist()]
        return torch.tensor(rows)

    monkeypatch.setattr(decode, "_draw", take)


def items(kind: Kind, num: int) -> list[Item]:
    shades = [(f"shade{number % 3}", f"shade{255 - number % 2}") for number in range(num)]
    clips = [pair if kind == "pair" else pair[:1] for pair in shades]
    return [Item(f"{kind}{n}", CAPTION, each, ("motion",)) for n, each in enumerate(clips)]


def places(asked: Sequence[Item]) -> Iterator[Place]:
    """Yield the place of every vote on the items."""
    for ask in asks_about(asked):
        for draw in range(4):
            yield ask.item_id, ask.dimension, ask.order, draw


def votes_of(critic: TransformersVlm, kind: Kind, asked: Sequence[Item]) -> list[Vote]:
    judged = judge.confirm if kind == "pair" else judge.score
    return judged(critic, asked, clips=shade, settings=SETTINGS, seed_of=seed_of)


@pytest.mark.parametrize("kind", ["pair", "point"])
def test_answers_that_a_whole_critic_speaks_become_the_votes_that_they_state(
    critic: TransformersVlm, kind: Kind, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = scripted(kind, random.Random(critic.llm.config.model_type))
    asked = items(kind, -(-len(said) // (8 if kind == "pair" else 4)))
    answers = dict(zip(places(asked), said, strict=False))
    speak(critic, answers, monkeypatch)
    votes = {(v.item, v.dimension, v.order, v.draw): v for v in votes_of(critic, kind, asked)}
    shown = {
        place: reasoning.swap_verdict(votes[place].outcome)
        if place[2] == "ba"
        else votes[place].outcome
        for place in answers
    }
    wrong = {
        text: shown[place] for place, (text, label) in answers.items() if shown[place] != label
    }
    assert len(answers) == NUM_CLEAR + NUM_UNCLEAR
    assert len(wrong) <= NUM_CLEAR // 100, wrong
    assert {*wrong.values()} <= {"abstain"}, "what is not understood abstains"
