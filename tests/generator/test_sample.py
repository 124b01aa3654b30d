"""Sampling units: order, fixed batches, known texts, and clips that cannot be used."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from dualipo.config import Generator
from dualipo.generator import backbone
from dualipo.generator.backbone import Backbone
from dualipo.generator.sample import EMPTY, denoise, sample

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


COLOURS = {
    "red": (1.0, -1.0, -1.0),
    "grey": (0.0, 0.0, 0.0),
    "nan": (float("nan"),) * 3,
    "inf": (float("inf"),) * 3,
}


@pytest.mark.parametrize("broken", COLOURS)
def test_fault_23_clips_of_a_broken_decoder_are_rejected(wan: Any, broken: str) -> None:
    # The decoder's last convolution makes each colour of 2x2 pixels beside one another.
    channels_C111 = torch.tensor(COLOURS[broken]).repeat_interleave(4).view(-1, 1, 1, 1)

    def spoil(module: Any, inputs: Any, output: Tensor) -> Tensor:
        output = output.clone()
        output[1] = channels_C111
        return output

    wan._vae.decoder.conv_out.register_forward_hook(spoil)
    samples = sample(wan, captions=CAPTIONS[:2], seeds=[1, 2], settings=SETTINGS)
    assert samples.faults[0] is None
    assert "one colour" in str(samples.faults[1])
    red, green, blue = samples.frames_NFHW3[1].flatten(0, 2).unique(dim=0)[0].tolist()
    assert (red != green) == (broken == "red") and green == blue


def test_fault_23_latents_that_are_not_finite_are_rejected(wan: Any) -> None:
    with torch.no_grad():
        wan.module.proj_out.bias.fill_(float("nan"))
    samples = sample(wan, captions=CAPTIONS[:1], seeds=[1], settings=SETTINGS)
    assert samples.faults == ["its latent is not finite"]


def test_known_texts_are_not_encoded_again(wan: Any, pipeline_folder: Path) -> None:
    """Know the empty caption too: then the text encoder is not even read."""
    settings = SETTINGS.model_copy(update={"guidance_scale": 3.0})
    unit: dict[str, Any] = {"captions": CAPTIONS[2:4], "seeds": [1, 2], "settings": settings}
    first = denoise(wan, **unit)
    known = first.texts | {EMPTY: wan.encode_text([EMPTY])[0]}
    fresh: Any = backbone.load(pipeline_folder, max_sequence_length=8)
    again = denoise(fresh, **unit, texts=known)
    assert torch.equal(first.batches[0], again.batches[0])
    assert "_text_pipeline" not in vars(fresh) and "_text_pipeline" in vars(wan)
