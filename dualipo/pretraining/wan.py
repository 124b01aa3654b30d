"""Builds the embedded Wan pipelines, untrained, and embeds their captions."""

from diffusers import AutoencoderKLWan, UniPCMultistepScheduler, WanPipeline, WanTransformer3DModel
from torch import Tensor
from transformers import T5Tokenizer, UMT5EncoderModel

from dualipo.pretraining import settings
from dualipo.pretraining.text import build_text_encoder


def build(vae: AutoencoderKLWan, tokenizer: T5Tokenizer, size: settings.Variant) -> WanPipeline:
    """Build the untrained pipeline around a trained autoencoder."""
    return WanPipeline(
        tokenizer=tokenizer,
        text_encoder=build_text_encoder(tokenizer),
        transformer=_build_transformer(size),
        vae=vae,
        scheduler=UniPCMultistepScheduler(
            prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=3.0
        ),
    )


def _build_transformer(size: settings.Variant) -> WanTransformer3DModel:
    return WanTransformer3DModel(
        patch_size=settings.TRANSFORMER_PATCH,
        num_attention_heads=size.heads,
        attention_head_dim=size.width // size.heads,
        in_channels=settings.VAE_CHANNELS,
        out_channels=settings.VAE_CHANNELS,
        text_dim=settings.TEXT_WIDTH,
        freq_dim=64,
        ffn_dim=size.ffn,
        num_layers=size.layers,
        rope_max_seq_len=32,
    )


def load_vae(folder: str) -> AutoencoderKLWan:
    """Load the autoencoder that was trained before."""
    return AutoencoderKLWan.from_pretrained(folder)


def embed(text_encoder: UMT5EncoderModel, input_ids_BL: Tensor, mask_BL: Tensor) -> Tensor:
    """Embed captions as the diffusers pipeline does, zero past the true length: text_BLD."""
    return text_encoder(input_ids_BL, mask_BL).last_hidden_state * mask_BL[..., None]
