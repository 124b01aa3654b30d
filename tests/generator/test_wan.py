"""The Wan backbone against the stock pipeline, and what it refuses."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import WanPipeline
from torch import Tensor

from dualipo.config import Generator
from dualipo.errors import ConfigError, ModelError
from dualipo.generator import backbone, frames
from dualipo.generator.backbone import Backbone

SIZE = {"num_frames": 9, "height": 32, "width": 32}


@pytest.fixture
def folder_copy(pipeline_folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(pipeline_folder, tmp_path / "copy"))


def test_sampling_equals_the_stock_pipeline(
    wan: Backbone, pipeline_folder: Path, text_BLD: Tensor
) -> None:
    stock = WanPipeline.from_pretrained(pipeline_folder)
    settings = {**SIZE, "num_inference_steps": 4, "guidance_scale": 3.0}
    expected = stock(
        ["a red ball rolls", "a blue cube"],
        generator=[torch.Generator().manual_seed(seed) for seed in (5, 6)],
        max_sequence_length=8,
        output_type="latent",
        **settings,
    ).frames
    latents = wan.sample(text_BLD, seeds=[5, 6], settings=Generator(**settings))
    torch.testing.assert_close(latents, expected, rtol=0, atol=1e-6)
    # A clip depends on its own seed and caption, up to the arithmetic of another batch shape.
    alone = wan.sample(text_BLD[1:], seeds=[6], settings=Generator(**settings))
    torch.testing.assert_close(latents[1:], alone, rtol=1e-4, atol=1e-4)


def test_text_is_zero_past_its_end(wan: Backbone) -> None:
    text_BLD = wan.encode_text(["a red ball", ""])
    assert text_BLD.shape == (2, 8, 32)
    num_tokens = text_BLD.abs().sum(-1).gt(0).sum(-1)
    assert num_tokens.tolist() == [4, 1]  # three words, and the end token


def test_latents_are_normalised_per_channel(wan: Backbone) -> None:
    frames_BFHWC = torch.randint(0, 256, (2, 9, 32, 32, 3), dtype=torch.uint8)
    latents_BCFHW = wan.encode_clips(frames_BFHWC)
    assert latents_BCFHW.shape[1:] == wan.latent_shape(**SIZE) == (4, 3, 4, 4)
    video = frames_BFHWC.permute(0, 4, 1, 2, 3) / 127.5 - 1
    with torch.no_grad():
        raw = wan._vae.encode(video).latent_dist.mode()
    torch.testing.assert_close(latents_BCFHW[:, 2], raw[:, 2] / 2.0)
    torch.testing.assert_close(latents_BCFHW[:, 1], raw[:, 1] + 0.2)
    decoded = wan.decode(latents_BCFHW)
    assert decoded.shape == frames_BFHWC.shape and decoded.dtype == torch.uint8
    with torch.no_grad():
        expected = wan._vae.decode(raw).sample.permute(0, 2, 3, 4, 1)
    assert (decoded - (expected.clamp(-1, 1) + 1) * 127.5).abs().max() <= 0.51


def test_large_clips_pass_the_autoencoder_one_by_one(
    wan: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    at_once: list[int] = []
    for layer in (wan._vae.quant_conv, wan._vae.post_quant_conv):
        layer.register_forward_pre_hook(lambda _, inputs: at_once.append(len(inputs[0])))
    frames_BFHWC = torch.randint(0, 256, (3, 9, 32, 32, 3), dtype=torch.uint8)
    latents = wan.encode_clips(frames_BFHWC)
    decoded = wan.decode(latents)
    assert at_once == [3, 3]
    monkeypatch.setattr(frames, "PIXELS_AT_ONCE", 9 * 32 * 32)
    at_once.clear()
    # The same but for the arithmetic of another batch shape.
    torch.testing.assert_close(wan.encode_clips(frames_BFHWC), latents, rtol=1e-4, atol=1e-4)
    assert (wan.decode(latents).int() - decoded.int()).abs().max() <= 1
    assert at_once == [1] * 6
    monkeypatch.undo()
    assert frames.clips_at_once(num_pixels=81 * 480 * 832) == 1


def test_flow_matching_ends_at_clip_and_noise(wan: Backbone) -> None:
    latents, noise = torch.randn(2, 2, 4, 3, 4, 4)
    levels_B = torch.tensor([0.0, 1.0])
    noisy = wan.noised(latents, noise=noise, levels_B=levels_B)
    assert torch.equal(noisy[0], latents[0]) and torch.equal(noisy[1], noise[1])
    # The target is the path's derivative in s.
    nearby = wan.noised(latents, noise=noise, levels_B=levels_B + 0.5)
    torch.testing.assert_close(
        wan.target(latents, noise=noise, levels_B=levels_B), (nearby - noisy) / 0.5
    )
    drawn = wan.noise_levels(
        torch.rand(20000, generator=torch.Generator().manual_seed(0)), shift=3.0
    )
    # The median of uniform s is 1/2, which a shift of 3 takes to 3/4.
    assert drawn.median() == pytest.approx(0.75, abs=0.01) and drawn.max() <= 1


def test_saved_transformer_loads_as_a_version(
    wan: Backbone, pipeline_folder: Path, tmp_path: Path
) -> None:
    with torch.no_grad():
        next(wan.module.parameters()).add_(1.0)
    wan.save(tmp_path / "transformer")
    version = backbone.load(
        pipeline_folder, max_sequence_length=8, transformer_folder=tmp_path / "transformer"
    )
    base = backbone.load(pipeline_folder, max_sequence_length=8)
    assert version.hash() == wan.hash() != base.hash()


def test_size_that_does_not_fit_is_refused(wan: Backbone) -> None:
    with pytest.raises(ConfigError, match=r"10 frames of 32x30.*multiple of 4 plus 1"):
        wan.latent_shape(num_frames=10, height=32, width=30)


def test_other_pipelines_are_refused(folder_copy: Path) -> None:
    index = json.loads((folder_copy / "model_index.json").read_text())
    for change, message in [
        ({"_class_name": "FluxPipeline"}, "FluxPipeline; supported: WanPipeline"),
        ({"_class_name": "WanImageToVideoPipeline"}, "text to video"),
        ({"boundary_ratio": 0.9}, "Wan2.2.*Wan2.1-T2V-14B"),
        ({"expand_timesteps": True}, "Wan2.2"),
    ]:
        (folder_copy / "model_index.json").write_text(json.dumps({**index, **change}))
        with pytest.raises(ModelError, match=message):
            backbone.load(folder_copy, max_sequence_length=8)
    (folder_copy / "model_index.json").write_text("{")
    with pytest.raises(ModelError, match="not JSON"):
        backbone.load(folder_copy, max_sequence_length=8)
    with pytest.raises(ModelError, match="hf download"):
        backbone.load(folder_copy / "missing", max_sequence_length=8)


@pytest.mark.parametrize("change", [{"in_channels": 36}, {"image_dim": 1280}])
def test_image_to_video_is_refused(folder_copy: Path, change: dict[str, int]) -> None:
    path = folder_copy / "transformer" / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(ModelError, match=r"image-to-video.*Wan2\.1-T2V"):
        backbone.load(folder_copy, max_sequence_length=8)


def test_fault_49_pickled_weights_are_refused(folder_copy: Path) -> None:
    (folder_copy / "text_encoder" / "model.safetensors").rename(
        folder_copy / "text_encoder" / "pytorch_model.bin"
    )
    with pytest.raises(ModelError, match=r"pytorch_model\.bin.*safetensors"):
        backbone.load(folder_copy, max_sequence_length=8)
