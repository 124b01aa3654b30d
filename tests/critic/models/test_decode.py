"""Judged once: what questions and votes share is computed once, and nothing else changes."""

from collections import Counter

import pytest
import torch

from dualipo.config import Critic
from dualipo.critic import asks, judge
from dualipo.critic.asks import Item
from dualipo.critic.models import decode
from dualipo.critic.models.vila import Vila
from dualipo.critic.vlm import Sampling
from dualipo.records import DIMENSIONS
from dualipo.rounds.run import model_folder
from dualipo.training.precision import autocast
from dualipo.world import corpus
from tests.critic.conftest import make_clip, seed_of

REAL = [corpus.real_clip(seed, num_frames=9) for seed in range(2)]


def plain_greedy(critic, query, *, num_tokens):
    """Decode with transformers' own `generate` on the whole prompt, as one row."""
    with torch.no_grad(), autocast(critic.device, critic.settings):
        visual = critic.embed_clips([query])
        [row] = critic._prompts([query], visual, room=num_tokens)
        packed = critic._pack([query], [row], visual)
        generated = critic.llm.generate(
            inputs_embeds=packed.embeds_BLH,
            attention_mask=packed.mask_BL,
            do_sample=False,
            max_new_tokens=num_tokens,
        )
    return tuple(generated[0].tolist())


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["no", "bf16"])  # the quick and the world recipe's is bf16
def test_greedy_paths_of_the_shipped_critic_are_token_for_token_the_plain_ones(precision):
    settings = Critic(mixed_precision=precision)
    critic = Vila.load(model_folder("embedded", "critic"), settings=settings)
    item = Item("p", REAL[0].caption, ("0", "1"))
    clips = {"0": REAL[0].frames_FHW3, "1": REAL[1].frames_FHW3}
    queries = asks.load_queries(asks.asks_about([item]), clips.__getitem__)
    queries += [
        asks.load_queries(asks.asks_about([Item("q", "a red circle", ("1",))]), clips.__getitem__)[
            0
        ]
    ]
    assert len(queries) == 2 * len(DIMENSIONS) + 1
    drawn = critic.sample(queries, Sampling([[0, 0]] * len(queries), 0.0, max_new_tokens=40))
    for query, [path, again] in zip(queries, drawn, strict=True):
        assert path.token_ids == again.token_ids
        assert path.token_ids == plain_greedy(critic, query, num_tokens=40)


def test_one_look_a_clip_and_one_prefill_a_pair_and_order(vila):
    vila.freeze()
    seen: Counter[str] = Counter()
    vila.module.vision_tower.register_forward_hook(lambda *_: seen.update(["looks"]))

    def count(module, args, kwargs):
        if kwargs.get("inputs_embeds") is not None:
            seen.update({"prefixes": len(kwargs["inputs_embeds"])})

    vila.llm.register_forward_pre_hook(count, with_kwargs=True)
    items = [Item(f"p{n}", "a lamp", (f"{n}", f"{n + 1}")) for n in range(3)]
    settings = Critic(num_votes=8, max_new_tokens=8, max_reasks=0, judge_batch_size=24)
    votes = judge.confirm(
        vila, items, clips=lambda name: make_clip(int(name)), settings=settings, seed_of=seed_of
    )
    assert len(votes) == 3 * len(DIMENSIONS) * 8
    assert seen == {"looks": 4, "prefixes": 3 * 2}


def test_a_uniform_number_draws_by_inverting_the_cumulative_distribution():
    log_probs = torch.tensor([[[0.5, 0.3, 0.2]]]).log().expand(1, 5, 3)
    numbers = torch.tensor([[0.0, 0.49, 0.51, 0.81, 1.0]], dtype=torch.float64)
    assert decode._draw(log_probs, 1.0, numbers).tolist() == [[0, 0, 1, 2, 2]]
