"""The CogVideoX backbone against the stock pipeline, its schedule's facts, and what it refuses."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import CogVideoXDPMScheduler, CogVideoXPipeline
from torch import Tensor

from dualipo.config import Align, Generator
from dualipo.errors import ConfigError, ModelError
from dualipo.generator import backbone, noise
from dualipo.generator.backbone import Backbone
from dualipo.generator.losses import denoising_error
from tests.generator.conftest import make_cogvideox

SIZE = {"num_frames": 9, "height": 32, "width": 32}


@pytest.fixture(scope="module")
def sincos_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder like CogVideoX-2B's: added positions, SNR shift 3, the multi-step solver."""
    folder = tmp_path_factory.mktemp("models") / "sincos"
    pipeline = make_cogvideox(rotary=False)
    pipeline.scheduler = CogVideoXDPMScheduler.from_config(pipeline.scheduler.config)
    pipeline.save_pretrained(folder)
    return folder


@pytest.fixture
def folder_copy(cog_folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(cog_folder, tmp_path / "copy"))


def changed(folder: Path, part: str, name: str, changes: dict[str, Any]) -> None:
    path = folder / part / name
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


@pytest.mark.parametrize("fixture", ["cog_folder", "sincos_folder"])
def test_sampling_equals_the_stock_pipeline(fixture: str, request: pytest.FixtureRequest) -> None:
    # Not at the size that the transformer names, so that positions are made for this one.
    folder = request.getfixturevalue(fixture)
    settings: dict[str, Any] = {
        "num_frames": 9,
        "height": 32,
        "width": 48,
        "num_inference_steps": 4,
        "guidance_scale": 3.0,
    }
    expected = CogVideoXPipeline.from_pretrained(folder)(
        ["a red ball rolls", "a blue cube"],
        generator=[torch.Generator().manual_seed(seed) for seed in (5, 6)],
        max_sequence_length=8,
        output_type="latent",
        **settings,
    ).frames
    model = backbone.load(folder, max_sequence_length=8)
    text_BLD = model.encode_text(["a red ball rolls", "a blue cube"])
    latents = model.sample(text_BLD, seeds=[5, 6], settings=Generator(**settings))
    torch.testing.assert_close(latents, expected, rtol=1e-5, atol=1e-5)
    alone = model.sample(text_BLD[1:], seeds=[6], settings=Generator(**settings))
    torch.testing.assert_close(latents[1:], alone, rtol=1e-4, atol=1e-4)


def test_rotary_embeddings_reach_the_transformer(cog: Any, text_BLD: Tensor) -> None:
    noisy = torch.randn(2, 3, 4, 4, 4, generator=torch.Generator().manual_seed(0))
    levels_B = torch.tensor([0.25, 0.75])
    with torch.no_grad():
        predicted = cog.predict(noisy, levels_B=levels_B, text_BLD=text_BLD)
        arguments = {
            "hidden_states": noisy,
            "encoder_hidden_states": text_BLD,
            "timestep": torch.tensor([250, 750]),
            "return_dict": False,
        }
        rotary = CogVideoXPipeline.from_pretrained(
            cog._folder
        )._prepare_rotary_positional_embeddings(32, 32, 3, torch.device("cpu"))
        with_it = cog.module(image_rotary_emb=rotary, **arguments)[0]
        without = cog.module(**arguments)[0]
    torch.testing.assert_close(predicted, with_it)
    assert (predicted - without).abs().max() > 1e-3


def test_noise_levels_are_timesteps(cog: Any) -> None:
    every = torch.arange(1000) / 1000
    levels_B = cog.noise_levels(every + 5e-4, shift=3.0)
    torch.testing.assert_close(levels_B, every)
    settings = Align(flow_shift=3.0)
    drawn, _ = noise.draw(cog, shape=(1,), draws=range(4000), settings=settings)
    assert 0 <= drawn.min() < 0.01 and 0.99 < drawn.max() <= 0.999
    assert drawn.mean() == pytest.approx(0.4995, abs=0.02)  # uniform: no shift but the schedule's


def test_logit_normal_levels_gather_in_the_middle(cog: Any, wan: Any) -> None:
    settings = Align(weighting_scheme="logit_normal", logit_std=0.5, flow_shift=1.0)
    for model in (cog, wan):
        drawn, _ = noise.draw(model, shape=(1,), draws=range(4000), settings=settings)
        # Half of all normal draws lie within 0.6745 standard deviations.
        low, high = torch.sigmoid(torch.tensor([-0.6745, 0.6745]) * 0.5)
        assert ((drawn > low) & (drawn < high)).float().mean() == pytest.approx(0.5, abs=0.03)


def test_noise_alone_is_left_at_the_last_timestep(cog: Any) -> None:
    latents, eps = torch.randn(2, 1, 3, 4, 4, 4)
    last = torch.tensor([0.999])
    assert torch.equal(cog.noised(latents, noise=eps, levels_B=last), eps)
    assert torch.equal(cog.target(latents, noise=eps, levels_B=last), -latents)


@pytest.mark.parametrize("timestep", [0, 400, 998, 999])
def test_velocity_error_equals_the_weighted_clean_one(cog: Any, timestep: int) -> None:
    """Compare with diffusers' scripts: x0 = sqrt(a) x_t - sqrt(1 - a) v, weight 1 / (1 - a)."""
    latents, eps, predicted = torch.randn(3, 2, 3, 4, 4, 4, dtype=torch.float64)
    levels_B = torch.tensor([timestep, timestep]) / 1000
    error_B = denoising_error(predicted, cog.target(latents, noise=eps, levels_B=levels_B))
    scheduler = cog._scheduler
    at = torch.tensor([timestep])
    noisy = scheduler.add_noise(latents, eps, at)
    clean = (
        scheduler.alphas_cumprod[timestep].sqrt() * noisy
        - (1 - scheduler.alphas_cumprod[timestep]).sqrt() * predicted
    )
    weight = 1 / (1 - scheduler.alphas_cumprod[timestep])
    weighted_B = weight * (clean - latents).square().flatten(1).mean(1)
    torch.testing.assert_close(error_B, weighted_B, rtol=1e-9, atol=1e-12)
    assert error_B.isfinite().all()


def test_latents_are_scaled_and_frames_come_first(cog: Any) -> None:
    frames_BFHWC = torch.randint(0, 256, (2, 9, 32, 32, 3), dtype=torch.uint8)
    latents_BFCHW = cog.encode_clips(frames_BFHWC)
    assert latents_BFCHW.shape[1:] == cog.latent_shape(**SIZE) == (3, 4, 4, 4)
    video = frames_BFHWC.permute(0, 4, 1, 2, 3) / 127.5 - 1
    with torch.no_grad():
        raw = cog._vae.encode(video).latent_dist.mode()
        expected = cog._vae.decode(raw).sample.permute(0, 2, 3, 4, 1)
    torch.testing.assert_close(latents_BFCHW, 0.7 * raw.transpose(1, 2))
    decoded = cog.decode(latents_BFCHW)
    assert decoded.shape == frames_BFHWC.shape and decoded.dtype == torch.uint8
    assert (decoded - (expected.clamp(-1, 1) + 1) * 127.5).abs().max() <= 0.51
    assert cog.decode(torch.full((1, 3, 4, 4, 4), float("nan"))).max() == 0


def test_saved_transformer_loads_as_a_version(
    cog: Backbone, cog_folder: Path, tmp_path: Path
) -> None:
    with torch.no_grad():
        next(cog.module.parameters()).add_(1.0)
    cog.save(tmp_path / "transformer")
    version = backbone.load(
        cog_folder, max_sequence_length=8, transformer_folder=tmp_path / "transformer"
    )
    assert version.hash() == cog.hash()


def test_sizes_that_do_not_fit_are_refused(cog: Backbone, cog_folder: Path) -> None:
    # 13 frames are 4 latent frames: the autoencoder takes them by twos after a first.
    with pytest.raises(ConfigError, match=r"13 frames of 32x30.*multiple of 8 plus 1.*16"):
        cog.latent_shape(num_frames=13, height=32, width=30)
    with pytest.raises(ConfigError, match="takes 8 text tokens, not 16"):
        backbone.load(cog_folder, max_sequence_length=16)


@pytest.mark.parametrize(
    ("part", "name", "changes", "message"),
    [
        ("transformer", "config.json", {"patch_size_t": 2}, r"CogVideoX-1\.5.*CogVideoX-5B"),
        ("transformer", "config.json", {"in_channels": 8}, "image-to-video.*8 channels in, 4 out"),
        (
            "transformer",
            "config.json",
            {"use_learned_positional_embeddings": True},
            "image-to-video",
        ),
        ("transformer", "config.json", {"dropout": 0.1}, "dropout of 0.1.*Set dropout to 0"),
        ("", "model_index.json", {"_class_name": "CogVideoXImageToVideoPipeline"}, "text to video"),
        ("scheduler", "scheduler_config.json", {"prediction_type": "epsilon"}, "v_prediction"),
        ("scheduler", "scheduler_config.json", {"rescale_betas_zero_snr": False}, "zero_snr False"),
    ],
)
def test_relatives_are_refused(
    folder_copy: Path, part: str, name: str, changes: dict[str, Any], message: str
) -> None:
    changed(folder_copy, part, name, changes)
    with pytest.raises(ModelError, match=message):
        backbone.load(folder_copy, max_sequence_length=8)
