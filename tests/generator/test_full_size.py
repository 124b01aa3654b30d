"""The published models' contracts at full size, on the meta device: shapes without weights.

The configurations are those of the models' folders (METHOD.md 4.6).
"""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import (
    AutoencoderKLCogVideoX,
    AutoencoderKLWan,
    CogVideoXTransformer3DModel,
    WanTransformer3DModel,
)

from dualipo.generator import cogvideox, wan

COGVIDEOX: dict[str, Any] = {
    "attention_head_dim": 64,
    "in_channels": 16,
    "out_channels": 16,
    "time_embed_dim": 512,
    "text_embed_dim": 4096,
    "sample_width": 90,
    "sample_height": 60,
    "sample_frames": 49,
    "patch_size": 2,
    "max_text_seq_length": 226,
    "spatial_interpolation_scale": 1.875,
}
COGVIDEOX_2B = COGVIDEOX | {"num_attention_heads": 30, "num_layers": 30}
COGVIDEOX_5B = COGVIDEOX | {
    "num_attention_heads": 48,
    "num_layers": 42,
    "use_rotary_positional_embeddings": True,
}
WAN: dict[str, Any] = {
    "attention_head_dim": 128,
    "in_channels": 16,
    "out_channels": 16,
    "text_dim": 4096,
    "freq_dim": 256,
    "patch_size": (1, 2, 2),
    "cross_attn_norm": True,
    "qk_norm": "rms_norm_across_heads",
}
WAN_1_3B = WAN | {"num_attention_heads": 12, "ffn_dim": 8960, "num_layers": 30}
WAN_14B = WAN | {"num_attention_heads": 40, "ffn_dim": 13824, "num_layers": 40}


def on_meta(family: Any, folder: Path, settings: dict[str, Any], text_length: int) -> Any:
    """A backbone of this transformer without weights, beside the published autoencoder's config."""
    transformer, vae = {
        cogvideox.CogVideoX: (CogVideoXTransformer3DModel, AutoencoderKLCogVideoX),
        wan.Wan: (WanTransformer3DModel, AutoencoderKLWan),
    }[family]
    with torch.device("meta"):
        module = transformer(**settings)
        published = dict(vae().config)  # both classes' defaults are the published model's
    (folder / "vae").mkdir()
    (folder / "vae" / "config.json").write_text(json.dumps(published, default=list))
    return family(folder, module=module, max_sequence_length=text_length, dtype=torch.bfloat16)


def num_parameters(backbone: Any) -> int:
    return sum(weight.numel() for weight in backbone.module.parameters())


def num_tokens(backbone: Any, module: str, latent_shape: tuple[int, ...], text_length: int) -> int:
    """Tokens that leave the embedding of patches, in a whole forward pass of one clip."""
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


@pytest.mark.parametrize(
    ("settings", "billions", "has_rotary"),
    [(COGVIDEOX_2B, 1.69, False), (COGVIDEOX_5B, 5.57, True)],
)
def test_cogvideox(
    settings: dict[str, Any], billions: float, has_rotary: bool, tmp_path: Path
) -> None:
    backbone = on_meta(cogvideox.CogVideoX, tmp_path, settings, 226)
    assert num_parameters(backbone) / 1e9 == pytest.approx(billions, abs=0.01)
    shape = backbone.latent_shape(num_frames=49, height=480, width=720)
    assert shape == (13, 16, 60, 90)
    assert num_tokens(backbone, "patch_embed", shape, 226) == 17550 + 226
    rotary = backbone._rotary_embeddings(torch.empty(1, *shape, device="meta"))
    assert (rotary[0].shape == (17550, 64)) if has_rotary else (rotary is None)


@pytest.mark.parametrize(("settings", "billions"), [(WAN_1_3B, 1.419), (WAN_14B, 14.288)])
def test_wan(settings: dict[str, Any], billions: float, tmp_path: Path) -> None:
    backbone = on_meta(wan.Wan, tmp_path, settings, 512)
    assert num_parameters(backbone) / 1e9 == pytest.approx(billions, abs=0.001)
    shape = backbone.latent_shape(num_frames=81, height=480, width=832)
    assert shape == (16, 21, 60, 104)
    assert num_tokens(backbone, "patch_embedding", shape, 512) == 32760
