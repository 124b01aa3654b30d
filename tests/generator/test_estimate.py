"""Estimates: costs counted on the meta device are those of a real pass of the same model."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from dualipo.config import Align, Generator
from dualipo.generator import backbone
from dualipo.generator.estimate import measure
from dualipo.training import lora
from dualipo.training.live_bytes import saved_bytes
from dualipo.training.optim import trainable

SETTINGS = Generator(max_sequence_length=8)


@pytest.mark.parametrize("rank", [0, 2])
@pytest.mark.parametrize("family", ["pipeline_folder", "cog_folder"])
def test_a_footprint_is_that_of_a_real_pass(
    family: str, rank: int, request: pytest.FixtureRequest
) -> None:
    folder: Path = request.getfixturevalue(family)
    align = Align(rank=rank)
    without_weights = backbone.load(folder, max_sequence_length=8, device="meta")
    size = measure(without_weights, folder=folder, settings=SETTINGS, align=align)
    real: Any = backbone.load(folder, max_sequence_length=8)
    assert size.num_parameters == sum(weight.numel() for weight in real.module.parameters())
    encoder = real._text_pipeline.text_encoder
    assert size.num_text_parameters == sum(weight.numel() for weight in encoder.parameters())
    if rank:
        lora.attach(real.module, targets=real.lora_targets, settings=align, seed=0)
    assert size.num_trained == sum(weight.numel() for weight in trainable(real.module).values())
    shape = real.latent_shape(num_frames=9, height=32, width=32)
    assert (size.latent_shape, size.text_shape) == (shape, (8, 32))
    clip, conditions = torch.randn(1, *shape), {"text_BLD": torch.randn(1, 8, 32)}
    with saved_bytes(real.module) as saved:
        real.predict(clip, levels_B=torch.rand(1), **conditions)
    # The counter knows attention on a CPU only as plain products.
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
        real.predict(clip, levels_B=torch.rand(1), **conditions)
    assert size.flops == counter.get_total_flops()
    assert size.kept_bytes == pytest.approx(sum(saved.values()), rel=0.1)


def test_checkpointing_keeps_one_block_and_the_others_inputs(pipeline_folder: Path) -> None:
    kept = {}
    for is_on in (False, True):
        model = backbone.load(pipeline_folder, max_sequence_length=8, device="meta")
        align = Align(gradient_checkpointing=is_on)
        kept[is_on] = measure(model, folder=pipeline_folder, settings=SETTINGS, align=align)
    num_tokens, width = 3 * 4 * 4, 24
    saved = kept[False].kept_bytes - kept[True].kept_bytes
    assert saved == kept[False].block_bytes - num_tokens * width * 4
