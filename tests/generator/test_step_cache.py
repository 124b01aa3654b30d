"""Step caching: no change counts as none, what is skipped is skipped, and nothing stays behind."""

from typing import Any

import pytest
import torch

from dualipo.config import Generator
from dualipo.generator.sample import Samples, sample

CAPTIONS = ["a red ball", "a blue cube"]


def drawn(model: Any, threshold: float, guidance: float) -> Samples:
    settings = Generator(
        num_inference_steps=6,
        guidance_scale=guidance,
        sample_batch_size=1,
        max_sequence_length=8,
        step_cache=threshold,
    )
    return sample(model, captions=CAPTIONS, seeds=[1, 2], settings=settings)


@pytest.mark.slow
@pytest.mark.parametrize("family", ["wan", "cog"])
@pytest.mark.parametrize("guidance", [1.0, 3.0])
def test_cached_steps_are_left_out_and_exact_ones_are_exact(
    family: str, guidance: float, request: pytest.FixtureRequest
) -> None:
    model = request.getfixturevalue(family)
    state = {name: tensor.clone() for name, tensor in model.module.state_dict().items()}
    exact = drawn(model, 0.0, guidance)
    tail = (model.module.blocks if family == "wan" else model.module.transformer_blocks)[-1]
    calls = []
    counting = tail.attn1.register_forward_hook(lambda *_: calls.append(1))
    never = drawn(model, 1e-12, guidance)
    assert torch.equal(never.latents, exact.latents)
    assert len(calls) == (12 if guidance == 1.0 else 24)
    calls.clear()
    often = drawn(model, 0.99, guidance)
    # The first step of each clip and branch is always whole.
    assert (2 if guidance == 1.0 else 4) <= len(calls) < (12 if guidance == 1.0 else 24)
    assert often.latents.isfinite().all() and not torch.equal(often.latents, exact.latents)
    counting.remove()
    assert torch.equal(drawn(model, 0.0, guidance).latents, exact.latents)
    after = model.module.state_dict()
    assert after.keys() == state.keys()
    assert all(torch.equal(after[name], tensor) for name, tensor in state.items())


def test_a_clip_does_not_remember_the_batch_before(wan: Any) -> None:
    both = drawn(wan, 0.99, 1.0)
    settings = Generator(
        num_inference_steps=6, guidance_scale=1.0, max_sequence_length=8, step_cache=0.99
    )
    alone = sample(wan, captions=CAPTIONS[1:], seeds=[2], settings=settings)
    assert torch.equal(both.latents[1], alone.latents[0])
