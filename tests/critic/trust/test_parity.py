"""The check before an engine serves: the same weights pass, and whatever differs is refused."""

import dataclasses
from typing import Any

import pytest
import torch

from dualipo.config import Critic
from dualipo.critic.asks import Item
from dualipo.critic.models import templates
from dualipo.critic.models.chat import ChatCritic
from dualipo.critic.models.engine import EngineCritic, Look
from dualipo.critic.models.transformers_vlm import TransformersVlm
from dualipo.critic.trust import parity
from dualipo.critic.trust.parity import Probe
from dualipo.errors import StageError
from tests.critic import vlms
from tests.critic.conftest import make_query, make_tokenizer, shade
from tests.servers import loopback

SETTINGS = Critic(
    max_frames=2,
    max_pixels=1024,
    max_new_tokens=8,
    server={"max_retries": 0, "max_concurrency": 1},
)
PAIRS = [Item("p", "a lamp", ("shade200", "shade40"))]
POINTS = [Item("c", "a lamp", ("shade230",)), Item("d", "a dog", ("shade10",))]


def critic_of(kind: str = "qwen2_5_vl", *, scale: float = 6) -> TransformersVlm:
    critic = TransformersVlm(
        vlms.make(kind, scale=scale), tokenizer=make_tokenizer(), settings=SETTINGS
    )
    critic.freeze()
    return critic


@pytest.fixture(scope="module")
def critic() -> TransformersVlm:
    return critic_of()


def answering(known: Probe, critic: ChatCritic, num_tokens: int) -> loopback.Say:
    """Answer a probe's questions by weights, as an engine that holds them would."""
    queries = [ask.query(shade) for ask in known.asks]
    rows_BC = critic.choice_log_probs(queries, known.prefixes, known.choice.options)

    def say(body: dict[str, Any], count: int) -> dict[str, Any]:
        question = body["messages"][0]["content"][-1]["text"]
        urls = [p["video_url"]["url"] for p in body["messages"][0]["content"] if "video_url" in p]
        assert body["continue_final_message"] and body["repetition_penalty"] == 1.0
        place = (question, tuple(urls))
        numbers.setdefault(place, len(numbers))
        top = [
            {"token": option, "logprob": log_prob}
            for option, log_prob in zip(
                known.choice.options, rows_BC[numbers[place]].tolist(), strict=True
            )
        ]
        choice = {
            "message": {"content": top[0]["token"]},
            "finish_reason": "length",
            "logprobs": {"content": [top[0] | {"top_logprobs": top}]},
        }
        usage = {"prompt_tokens": num_tokens // len(known.asks)}
        return {"choices": [choice], "usage": usage}

    numbers: dict[Any, int] = {}
    return say


def compared(critic: ChatCritic, known: Probe, say: loopback.Say) -> parity.Parity:
    with loopback.serving(say) as server:
        served = EngineCritic("x", base_urls=[server.url], look=Look.of(critic), settings=SETTINGS)
        return parity.compare(known, served, clips=shade)


@pytest.mark.parametrize("items", [PAIRS, POINTS], ids=["pairs", "points"])
def test_fault_98_the_same_weights_pass_and_other_ones_are_refused(items, critic):
    known = parity.probe(critic, items, clips=shade, settings=SETTINGS)
    tokens = len(known.asks) * (known.num_prompt_tokens // len(known.asks))
    known = dataclasses.replace(known, num_prompt_tokens=tokens)
    same = compared(critic, known, answering(known, critic, tokens))
    assert same.num_questions == len(known.asks) and same.mean_gap < 1e-5
    parity.require(same, max_gap=0.02, server="x")
    other = compared(critic, known, answering(known, critic_of(scale=4), tokens))
    assert other.mean_gap > 0.001  # random weights have no opinions that could differ by more
    with pytest.raises(StageError, match="probabilities differ by"):
        parity.require(other, max_gap=0.001, server="x")


def test_another_prompt_and_missing_answers_are_refused(critic):
    known = parity.probe(critic, PAIRS, clips=shade, settings=SETTINGS)
    longer = compared(critic, known, answering(known, critic, 2 * known.num_prompt_tokens))
    with pytest.raises(StageError, match=r"its prompts have .* tokens"):
        parity.require(longer, max_gap=0.02, server="x")
    silent = compared(critic, known, lambda body, count: loopback.failing(500))
    with pytest.raises(StageError, match="6 of 6 questions have no answer"):
        parity.require(silent, max_gap=0.02, server="x")


# What the model's own chat template writes for a clip of two frames.
BY_TEMPLATE = {
    "qwen2_5_vl": "<|vision_start|>{}<|vision_end|>",
    "llava_onevision": "{}",
}


@pytest.mark.parametrize("kind", BY_TEMPLATE)
def test_what_is_sent_is_the_prompt_between_the_templates_marks(kind):
    critic = critic_of(kind)
    query = make_query()
    served = EngineCritic(
        "x", base_urls=["http://127.0.0.1:1/v1"], look=Look.of(critic), settings=SETTINGS
    )
    [turn] = served._turns(query, served._images([query]))
    kinds = [part["type"] for part in turn["content"]]
    is_video = kind == "qwen2_5_vl"
    assert kinds.count("video_url" if is_video else "image_url") == (2 if is_video else 4)
    sent = "".join(
        part["text"] if part["type"] == "text" else BY_TEMPLATE[kind].format("@")
        for part in turn["content"]
    )
    own = templates.prompt(query, num_frames=[2, 2], style=critic.style, settings=SETTINGS)
    frames = [
        "@" if part.frame == 0 or not is_video else "" for part in own if not isinstance(part, str)
    ]
    texts = iter(frames)
    whole = "".join(part if isinstance(part, str) else next(texts) for part in own)
    assert critic.style.before + sent + critic.style.after == whole


def test_frames_are_sent_at_the_size_at_which_the_weights_see_them(critic):
    look = Look.of(critic)
    assert look.size_of is not None and look.is_video
    assert look.size_of(48, 96) == critic._size(torch.zeros(1, 48, 96, 3).numpy())
