"""Sampling units: order, fixed batches, and clips that cannot be used."""

from typing import Any

import pytest
import torch
from torch import Tensor

from dualipo.config import Generator
from dualipo.generator.backbone import Backbone
from dualipo.generator.sample import sample

CAPTIONS = ["a red ball"] * 3 + ["a blue cube"] * 2
SETTINGS = Generator(num_inference_steps=2, sample_batch_size=2, max_sequence_length=8)


def test_unit_is_reproducible_and_in_order(wan: Backbone) -> None:
    first = sample(wan, captions=CAPTIONS, seeds=[1, 2, 3, 1, 2], settings=SETTINGS)
    again = sample(wan, captions=CAPTIONS, seeds=[1, 2, 3, 1, 2], settings=SETTINGS)
    assert first.frames_NFHW3.shape == (5, 9, 32, 32, 3)
    assert first.latents.shape == (5, 4, 3, 4, 4)
    assert torch.equal(first.frames_NFHW3, again.frames_NFHW3)
    assert first.faults == [None] * 5
    assert list(first.texts) == ["a red ball", "a blue cube"]
    assert torch.equal(first.texts["a blue cube"], wan.encode_text(["a blue cube"])[0])
    assert not torch.equal(first.latents[0], first.latents[3])  # one seed, two captions


@pytest.mark.parametrize("broken", [float("nan"), float("inf"), 0.0])
def test_fault_23_clips_of_a_broken_decoder_are_rejected(wan: Any, broken: float) -> None:
    decoder = wan._vae.decoder.conv_out

    def spoil(module: Any, inputs: Any, output: Tensor) -> Tensor:
        output = output.clone()
        output[1] = broken
        return output

    decoder.register_forward_hook(spoil)
    samples = sample(wan, captions=CAPTIONS[:2], seeds=[1, 2], settings=SETTINGS)
    assert samples.faults[0] is None
    assert "one colour" in str(samples.faults[1])


def test_fault_23_latents_that_are_not_finite_are_rejected(wan: Any) -> None:
    with torch.no_grad():
        wan.module.proj_out.bias.fill_(float("nan"))
    samples = sample(wan, captions=CAPTIONS[:1], seeds=[1], settings=SETTINGS)
    assert samples.faults == ["its latent is not finite"]
