"""Tiny random pipelines: every class is the stock one, only the sizes are small."""

import string
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from diffusers import (
    AutoencoderKLCogVideoX,
    AutoencoderKLWan,
    CogVideoXDDIMScheduler,
    CogVideoXPipeline,
    CogVideoXTransformer3DModel,
    UniPCMultistepScheduler,
    WanPipeline,
    WanTransformer3DModel,
)
from transformers import T5Config, T5EncoderModel, T5Tokenizer, UMT5Config, UMT5EncoderModel

from dualipo.generator import backbone
from dualipo.generator.backbone import Backbone

# What both published CogVideoX share; 2B shifts the SNR by 3, 5B by 1.
PUBLISHED_SCHEDULER = {
    "beta_schedule": "scaled_linear",
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "clip_sample": False,
    "prediction_type": "v_prediction",
    "rescale_betas_zero_snr": True,
    "set_alpha_to_one": True,
    "timestep_spacing": "trailing",
}
WORDS = ["▁a", "▁red", "▁blue", "▁ball", "▁cube", "▁rolls", "▁jumps"]


@pytest.fixture(scope="session")
def pipeline_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "wan"
    make_pipeline().save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def cog_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder like CogVideoX-5B's: rotary embeddings."""
    folder = tmp_path_factory.mktemp("models") / "cogvideox"
    make_cogvideox(rotary=True).save_pretrained(folder)
    return folder


def make_tokenizer(words: Sequence[str] = WORDS) -> T5Tokenizer:
    pieces = ["<pad>", "</s>", "<unk>", "▁", *words, *string.ascii_lowercase]
    return T5Tokenizer(vocab=[(p, -float(k)) for k, p in enumerate(pieces)], extra_ids=0)


def make_cogvideox(*, rotary: bool) -> CogVideoXPipeline:
    torch.manual_seed(0)
    tokenizer = make_tokenizer()
    text_encoder = T5EncoderModel(
        T5Config(vocab_size=len(tokenizer), d_model=32, d_kv=8, d_ff=32, num_layers=1, num_heads=2)
    )
    vae = AutoencoderKLCogVideoX(
        block_out_channels=(8, 8, 8, 8),
        latent_channels=4,
        layers_per_block=1,
        norm_num_groups=2,
        sample_height=32,
        sample_width=32,
        scaling_factor=0.7,
    )
    transformer = CogVideoXTransformer3DModel(
        num_attention_heads=2,
        attention_head_dim=16,
        in_channels=4,
        out_channels=4,
        time_embed_dim=16,
        text_embed_dim=32,
        num_layers=2,
        sample_width=4,
        sample_height=4,
        sample_frames=9,
        max_text_seq_length=8,
        use_rotary_positional_embeddings=rotary,
    )
    scheduler = CogVideoXDDIMScheduler(
        snr_shift_scale=1.0 if rotary else 3.0, **PUBLISHED_SCHEDULER
    )
    return CogVideoXPipeline(
        tokenizer=tokenizer,
        text_encoder=text_encoder,
        vae=vae,
        scheduler=scheduler,
        transformer=transformer,
    )


def make_pipeline() -> WanPipeline:
    torch.manual_seed(0)
    tokenizer = make_tokenizer()
    text_encoder = UMT5EncoderModel(
        UMT5Config(
            vocab_size=len(tokenizer), d_model=32, d_kv=8, d_ff=32, num_layers=1, num_heads=2
        )
    )
    vae = AutoencoderKLWan(
        base_dim=8,
        dim_mult=[1, 1, 1],
        z_dim=4,
        num_res_blocks=1,
        attn_scales=[],
        temperal_downsample=[True, True],
        patch_size=2,
        in_channels=12,
        out_channels=12,
        scale_factor_spatial=8,
        scale_factor_temporal=4,
        latents_mean=[0.1, -0.2, 0.0, 0.3],
        latents_std=[0.5, 1.0, 2.0, 1.5],
    )
    transformer = WanTransformer3DModel(
        patch_size=(1, 1, 1),
        num_attention_heads=2,
        attention_head_dim=12,
        in_channels=4,
        out_channels=4,
        text_dim=32,
        freq_dim=16,
        ffn_dim=48,
        num_layers=2,
        rope_max_seq_len=32,
    )
    scheduler = UniPCMultistepScheduler(
        prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=3.0
    )
    return WanPipeline(
        tokenizer=tokenizer,
        text_encoder=text_encoder,
        vae=vae,
        scheduler=scheduler,
        transformer=transformer,
    )


@pytest.fixture
def wan(pipeline_folder: Path) -> Backbone:
    return backbone.load(pipeline_folder, max_sequence_length=8)


@pytest.fixture
def cog(cog_folder: Path) -> Backbone:
    return backbone.load(cog_folder, max_sequence_length=8)


@pytest.fixture
def text_BLD(wan: Backbone) -> torch.Tensor:
    return wan.encode_text(["a red ball rolls", "a blue cube"])
