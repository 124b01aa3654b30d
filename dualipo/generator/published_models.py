"""The published models' configurations (METHOD.md 4.6): what an estimate needs before a download.

`write` makes a folder in diffusers' layout that holds configurations and no weights;
`backbone.load(..., device="meta")` opens it like a downloaded one. Leaves out tokenizers.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from diffusers import (
    AutoencoderKLCogVideoX,
    AutoencoderKLWan,
    CogVideoXTransformer3DModel,
    WanTransformer3DModel,
)
from torch import device

_CHANNELS: dict[str, Any] = {"in_channels": 16, "out_channels": 16}
_COGVIDEOX = _CHANNELS | {
    "attention_head_dim": 64,
    "time_embed_dim": 512,
    "text_embed_dim": 4096,
    "sample_width": 90,
    "sample_height": 60,
    "sample_frames": 49,
    "patch_size": 2,
    "max_text_seq_length": 226,
    "spatial_interpolation_scale": 1.875,
}
_WAN = _CHANNELS | {
    "attention_head_dim": 128,
    "text_dim": 4096,
    "freq_dim": 256,
    "patch_size": (1, 2, 2),
    "cross_attn_norm": True,
    "qk_norm": "rms_norm_across_heads",
}
_T5_XXL: dict[str, Any] = {
    "d_model": 4096,
    "d_kv": 64,
    "d_ff": 10240,
    "num_layers": 24,
    "num_heads": 64,
    "feed_forward_proj": "gated-gelu",
}
_COGVIDEOX_SCHEDULER: dict[str, Any] = {
    "beta_schedule": "scaled_linear",
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "clip_sample": False,
    "prediction_type": "v_prediction",
    "rescale_betas_zero_snr": True,
    "set_alpha_to_one": True,
    "timestep_spacing": "trailing",
}
_WAN_SCHEDULER = {"prediction_type": "flow_prediction", "use_flow_sigmas": True}


@dataclass(frozen=True)
class Family:
    """The parts that all models of one pipeline class share."""

    pipeline: str
    transformer: type
    vae: type
    text_encoder: str
    text_settings: dict[str, Any]
    scheduler: str
    scheduler_settings: dict[str, Any]


COGVIDEOX = Family(
    "CogVideoXPipeline",
    CogVideoXTransformer3DModel,
    AutoencoderKLCogVideoX,
    "T5EncoderModel",
    {"model_type": "t5", "vocab_size": 32128} | _T5_XXL,
    "CogVideoXDDIMScheduler",
    _COGVIDEOX_SCHEDULER,
)
WAN = Family(
    "WanPipeline",
    WanTransformer3DModel,
    AutoencoderKLWan,
    "UMT5EncoderModel",
    {"model_type": "umt5", "vocab_size": 256384} | _T5_XXL,
    "UniPCMultistepScheduler",
    _WAN_SCHEDULER,
)


@dataclass(frozen=True)
class Published:
    """A released model: where it can be downloaded, and what is its own of its family's parts.

    `vae` holds what differs from the autoencoder class's defaults.
    """

    repository: str
    family: Family
    transformer: dict[str, Any]
    vae: dict[str, Any]
    scheduler: dict[str, Any]


def _cogvideox(
    repository: str, *, vae_scale: float, snr_shift: float, **transformer: Any
) -> Published:
    vae, scheduler = {"scaling_factor": vae_scale}, {"snr_shift_scale": snr_shift}
    return Published(repository, COGVIDEOX, _COGVIDEOX | transformer, vae, scheduler)


def _wan(repository: str, **transformer: Any) -> Published:
    return Published(repository, WAN, _WAN | transformer, vae={}, scheduler={"flow_shift": 3.0})


# By the name of the folder that a download makes, in lower case.
PUBLISHED = {
    "cogvideox-2b": _cogvideox(
        "zai-org/CogVideoX-2b",
        vae_scale=1.15258426,
        snr_shift=3.0,
        num_attention_heads=30,
        num_layers=30,
    ),
    "cogvideox-5b": _cogvideox(
        "zai-org/CogVideoX-5b",
        vae_scale=0.7,
        snr_shift=1.0,
        num_attention_heads=48,
        num_layers=42,
        use_rotary_positional_embeddings=True,
    ),
    "wan2.1-t2v-1.3b-diffusers": _wan(
        "Wan-AI/Wan2.1-T2V-1.3B-Diffusers", num_attention_heads=12, ffn_dim=8960, num_layers=30
    ),
    "wan2.1-t2v-14b-diffusers": _wan(
        "Wan-AI/Wan2.1-T2V-14B-Diffusers", num_attention_heads=40, ffn_dim=13824, num_layers=40
    ),
}


def find(name_or_path: str) -> Published | None:
    """Return the published model that a folder is named after; None where there is none."""
    return PUBLISHED.get(Path(name_or_path).name.lower())


def write(folder: Path, model: Published) -> None:
    """Write a pipeline folder with the configurations that a download would have."""
    family = model.family
    with device("meta"):
        vae = dict(family.vae(**model.vae).config)
    index = {
        "_class_name": family.pipeline,
        "scheduler": ["diffusers", family.scheduler],
        "text_encoder": ["transformers", family.text_encoder],
        "tokenizer": ["transformers", "T5Tokenizer"],
        "transformer": ["diffusers", family.transformer.__name__],
        "vae": ["diffusers", family.vae.__name__],
    }
    files = {
        "model_index.json": index,
        "transformer/config.json": model.transformer,
        "vae/config.json": vae,
        "text_encoder/config.json": family.text_settings,
        "scheduler/scheduler_config.json": family.scheduler_settings | model.scheduler,
    }
    for name, settings in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(settings, default=list))
