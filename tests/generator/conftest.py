"""A tiny random Wan pipeline: every class is the stock one, only the sizes are small."""

import string
from pathlib import Path

import pytest
import torch
from diffusers import (
    AutoencoderKLWan,
    UniPCMultistepScheduler,
    WanPipeline,
    WanTransformer3DModel,
)
from transformers import T5Tokenizer, UMT5Config, UMT5EncoderModel

from dualipo.generator import backbone
from dualipo.generator.backbone import Backbone

WORDS = ["▁a", "▁red", "▁blue", "▁ball", "▁cube", "▁rolls", "▁jumps"]


@pytest.fixture(scope="session")
def pipeline_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "wan"
    make_pipeline().save_pretrained(folder)
    return folder


def make_pipeline() -> WanPipeline:
    torch.manual_seed(0)
    pieces = ["<pad>", "</s>", "<unk>", "▁", *WORDS, *string.ascii_lowercase]
    tokenizer = T5Tokenizer(vocab=[(p, -float(k)) for k, p in enumerate(pieces)], extra_ids=0)
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
def text_BLD(wan: Backbone) -> torch.Tensor:
    return wan.encode_text(["a red ball rolls", "a blue cube"])
