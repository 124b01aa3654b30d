"""Settings that make sampling smaller or faster: what stays equal, and how nearly."""

from pathlib import Path

import pytest
import torch

from dualipo.config import Generator
from dualipo.errors import ConfigError
from dualipo.generator import acceleration, backbone
from dualipo.generator.acceleration import Saving
from dualipo.generator.sample import Samples, sample

SMALL = {"num_inference_steps": 2, "max_sequence_length": 8, "sample_batch_size": 2}


def drawn(folder: Path, **changes) -> Samples:
    settings = Generator(**SMALL | changes)
    model = backbone.load(folder, max_sequence_length=8, saving=Saving.of(settings))
    return sample(model, captions=["a red ball", "a cube"], seeds=[1, 2], settings=settings)


@pytest.mark.parametrize("family", ["pipeline_folder", "cog_folder"])
def test_parts_that_wait_on_the_host_make_the_same_clips(
    family: str, request: pytest.FixtureRequest
) -> None:
    folder: Path = request.getfixturevalue(family)
    plain, offloaded = drawn(folder), drawn(folder, cpu_offload=True)
    assert torch.equal(offloaded.latents, plain.latents)
    assert torch.equal(offloaded.frames_NFHW3, plain.frames_NFHW3)


def test_a_lent_part_is_held_by_the_device_and_kept_by_the_host() -> None:
    part = torch.nn.BatchNorm1d(3)
    own = {name: tensor.data_ptr() for name, tensor in part.state_dict().items()}
    with pytest.raises(KeyError), acceleration.lent(part, torch.device("cpu")):
        there = {name: tensor.data_ptr() for name, tensor in part.state_dict().items()}
        assert not set(own.values()) & set(there.values())
        raise KeyError
    assert {name: tensor.data_ptr() for name, tensor in part.state_dict().items()} == own


def test_another_exact_kernel_rounds_differently_and_is_used_while_sampling_only(
    pipeline_folder: Path,
) -> None:
    plain, other = drawn(pipeline_folder), drawn(pipeline_folder, attention_backend="_native_math")
    torch.testing.assert_close(other.latents, plain.latents, rtol=1e-4, atol=1e-4)
    again = drawn(pipeline_folder)
    assert torch.equal(again.latents, plain.latents)


def test_a_kernel_that_is_not_there_or_does_nothing_is_refused(
    pipeline_folder: Path, cog_folder: Path
) -> None:
    with pytest.raises(ConfigError, match='attention_backend = "sage" cannot be used here'):
        drawn(pipeline_folder, attention_backend="sage")
    with pytest.raises(ConfigError, match="torch's own kernels alone"):
        drawn(cog_folder, attention_backend="_native_math")


@pytest.mark.slow
def test_compiled_blocks_round_differently_and_are_gone_after_sampling(
    pipeline_folder: Path,
) -> None:
    settings = Generator(**SMALL, compile=True)
    model = backbone.load(pipeline_folder, max_sequence_length=8)
    compiled = sample(model, captions=["a red ball", "a cube"], seeds=[1, 2], settings=settings)
    plain = drawn(pipeline_folder)
    torch.testing.assert_close(compiled.latents, plain.latents, rtol=1e-4, atol=1e-4)
    assert all(block._compiled_call_impl is None for block in model.module.modules())


def test_a_clip_that_fits_into_one_tile_is_decoded_as_without_tiles(pipeline_folder: Path) -> None:
    plain, tiled = drawn(pipeline_folder), drawn(pipeline_folder, vae_tiling=True)
    assert torch.equal(tiled.latents, plain.latents)
    assert torch.equal(tiled.frames_NFHW3, plain.frames_NFHW3)
