"""Builds the embedded CogVideoX pipeline, untrained, and embeds its captions.

Like CogVideoX-5B it has rotary embeddings and predicts a velocity under zero terminal SNR.
"""

from diffusers import (
    AutoencoderKLCogVideoX,
    CogVideoXDDIMScheduler,
    CogVideoXPipeline,
    CogVideoXTransformer3DModel,
)
from torch import Tensor
from transformers import T5Config, T5EncoderModel, T5Tokenizer

from dualipo.pretraining import settings

_IN_SPACE = 2 ** (len(settings.COG_VAE_BLOCKS) - 1)


def build(
    vae: AutoencoderKLCogVideoX, tokenizer: T5Tokenizer, size: settings.Variant
) -> CogVideoXPipeline:
    """Build the untrained pipeline around a trained autoencoder."""
    return CogVideoXPipeline(
        tokenizer=tokenizer,
        text_encoder=_build_text_encoder(tokenizer),
        transformer=_build_transformer(size),
        vae=vae,
        scheduler=CogVideoXDDIMScheduler(
            beta_schedule="scaled_linear",
            beta_start=0.00085,
            beta_end=0.012,
            clip_sample=False,
            prediction_type="v_prediction",
            rescale_betas_zero_snr=True,
            set_alpha_to_one=True,
            snr_shift_scale=1.0,
            timestep_spacing="trailing",
        ),
    )


def _build_text_encoder(tokenizer: T5Tokenizer) -> T5EncoderModel:
    sizes = T5Config(
        vocab_size=len(tokenizer), feed_forward_proj="gated-gelu", **settings.TEXT_ENCODER
    )
    return T5EncoderModel(sizes)


def _build_transformer(size: settings.Variant) -> CogVideoXTransformer3DModel:
    assert size.ffn == 4 * size.width, "diffusers' class supports no other width"
    return CogVideoXTransformer3DModel(
        num_attention_heads=size.heads,
        attention_head_dim=size.width // size.heads,
        in_channels=settings.COG_VAE_CHANNELS,
        out_channels=settings.COG_VAE_CHANNELS,
        time_embed_dim=64,
        text_embed_dim=settings.TEXT_WIDTH,
        num_layers=size.layers,
        sample_width=settings.FRAME_SIZE // _IN_SPACE,
        sample_height=settings.FRAME_SIZE // _IN_SPACE,
        sample_frames=settings.NUM_FRAMES,
        max_text_seq_length=settings.TEXT_LENGTH,
        use_rotary_positional_embeddings=True,
    )


def load_vae(folder: str) -> AutoencoderKLCogVideoX:
    """Load the autoencoder that was trained before."""
    return AutoencoderKLCogVideoX.from_pretrained(folder)


def embed(text_encoder: T5EncoderModel, input_ids_BL: Tensor, mask_BL: Tensor) -> Tensor:
    """Embed captions as the diffusers pipeline does, padding included: text_BLD."""
    return text_encoder(input_ids_BL).last_hidden_state
