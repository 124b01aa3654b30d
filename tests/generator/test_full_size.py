"""The published models' contracts at full size, on the meta device: shapes without weights.

The configurations are those of the models' folders (METHOD.md 4.6).
"""

from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import AutoencoderKLWan

from dualipo.generator import backbone, published_models


def on_meta(name: str, folder: Path, text_length: int) -> Any:
    published_models.write(folder, published_models.PUBLISHED[name])
    return backbone.load(
        folder, max_sequence_length=text_length, dtype=torch.bfloat16, device="meta"
    )


def num_parameters(backbone: Any) -> int:
    return sum(weight.numel() for weight in backbone.module.parameters())


def num_tokens(backbone: Any, module: str, latent_shape: tuple[int, ...], text_length: int) -> int:
    """Count the tokens that leave the embedding of patches, in a forward pass of one clip."""
    seen: list[int] = []
    embed = getattr(backbone.module, module)
    hook = embed.register_forward_hook(
        lambda _, inputs, output: seen.append(
            output.flatten(2).shape[-1 if output.ndim == 5 else 1]
        )
    )
    with torch.device("meta"), torch.no_grad():
        predicted = backbone.predict(
            torch.empty(1, *latent_shape),
            levels_B=torch.tensor([0.5]),
            text_BLD=torch.empty(1, text_length, 4096),
        )
    hook.remove()
    assert predicted.shape == (1, *latent_shape)
    return seen[0]


def signal_to_noise(backbone: Any) -> float:
    """Return the ratio in the middle of the schedule."""
    share = float(backbone._scheduler.alphas_cumprod[500])
    return share / (1 - share)


def signal_to_noise_of(shift: float) -> float:
    """Compute it anew: scaled-linear betas, the ratio over the shift, zero at the last timestep."""
    betas = torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float64) ** 2
    ratio = (1 - betas).cumprod(0)
    ratio = ratio / (1 - ratio) / shift
    signal = (ratio / (1 + ratio)).sqrt()
    signal = (signal - signal[-1]) * signal[0] / (signal[0] - signal[-1])
    return float(signal[500] ** 2 / (1 - signal[500] ** 2))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "billions", "has_rotary", "scale", "shift"),
    [("cogvideox-2b", 1.69, False, 1.15258426, 3.0), ("cogvideox-5b", 5.57, True, 0.7, 1.0)],
)
def test_cogvideox(
    name: str, billions: float, has_rotary: bool, scale: float, shift: float, tmp_path: Path
) -> None:
    backbone = on_meta(name, tmp_path, 226)
    assert backbone._vae_settings["scaling_factor"] == scale
    assert signal_to_noise(backbone) == pytest.approx(signal_to_noise_of(shift), rel=1e-4)
    assert num_parameters(backbone) / 1e9 == pytest.approx(billions, abs=0.01)
    shape = backbone.latent_shape(num_frames=49, height=480, width=720)
    assert shape == (13, 16, 60, 90)
    assert num_tokens(backbone, "patch_embed", shape, 226) == 17550 + 226
    rotary = backbone._rotary_embeddings(torch.empty(1, *shape, device="meta"))
    assert (rotary[0].shape == (17550, 64)) if has_rotary else (rotary is None)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "billions"),
    [("wan2.1-t2v-1.3b-diffusers", 1.419), ("wan2.1-t2v-14b-diffusers", 14.288)],
)
def test_wan(name: str, billions: float, tmp_path: Path) -> None:
    backbone = on_meta(name, tmp_path, 512)
    assert num_parameters(backbone) / 1e9 == pytest.approx(billions, abs=0.001)
    shape = backbone.latent_shape(num_frames=81, height=480, width=832)
    assert shape == (16, 21, 60, 104)
    assert backbone._scheduler.config.flow_shift == 3.0  # 480p, METHOD.md 4.1
    assert len(AutoencoderKLWan.load_config(tmp_path / "vae")["latents_mean"]) == shape[0]
    assert num_tokens(backbone, "patch_embedding", shape, 512) == 32760
