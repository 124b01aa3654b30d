"""Tiny random VLMs, one of each family of transformers that can be a critic."""

import torch
from transformers import (
    InternVLConfig,
    InternVLForConditionalGeneration,
    LlavaOnevisionConfig,
    LlavaOnevisionForConditionalGeneration,
    PreTrainedModel,
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen2VLConfig,
    Qwen2VLForConditionalGeneration,
    Qwen3VLConfig,
    Qwen3VLForConditionalGeneration,
    SmolVLMConfig,
    SmolVLMForConditionalGeneration,
)

VOCABULARY = 320
SPECIAL = {"image_token_id": 317, "video_token_id": 318}
TEXT = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "max_position_embeddings": 4096,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": 0,
}
QWEN_VISION = {
    "depth": 2,
    "num_heads": 2,
    "patch_size": 4,
    "spatial_merge_size": 2,
    "temporal_patch_size": 2,
}
MROPE = {"rope_type": "default", "mrope_section": [2, 3, 3], "rope_theta": 10000.0}
SIGLIP = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "image_size": 32,
    "patch_size": 8,
}


def qwen2_5_vl() -> PreTrainedModel:
    vision = QWEN_VISION | {
        "hidden_size": 32,
        "intermediate_size": 64,
        "out_hidden_size": 32,
        "window_size": 16,
        "fullatt_block_indexes": [1],
        "tokens_per_second": 2,
    }
    text = TEXT | {"rope_parameters": MROPE}
    config = Qwen2_5_VLConfig(text_config=text, vision_config=vision, **SPECIAL)
    return Qwen2_5_VLForConditionalGeneration(config)


def qwen2_vl() -> PreTrainedModel:
    vision = QWEN_VISION | {"embed_dim": 32, "hidden_size": 32, "mlp_ratio": 2}
    text = TEXT | {"rope_parameters": MROPE}
    config = Qwen2VLConfig(text_config=text, vision_config=vision, **SPECIAL)
    return Qwen2VLForConditionalGeneration(config)


def qwen3_vl() -> PreTrainedModel:
    vision = QWEN_VISION | {
        "hidden_size": 32,
        "intermediate_size": 64,
        "out_hidden_size": 32,
        "num_position_embeddings": 64,
        "deepstack_visual_indexes": [0, 1],
    }
    rope = MROPE | {"mrope_interleaved": True}
    text = TEXT | {"rope_parameters": rope, "head_dim": 16, "num_hidden_layers": 3}
    config = Qwen3VLConfig(text_config=text, vision_config=vision, **SPECIAL)
    return Qwen3VLForConditionalGeneration(config)


def smolvlm() -> PreTrainedModel:
    config = SmolVLMConfig(
        text_config=TEXT | {"model_type": "llama"},
        vision_config=SIGLIP,
        scale_factor=2,
        image_token_id=317,
        pad_token_id=0,
    )
    return SmolVLMForConditionalGeneration(config)


def llava_onevision() -> PreTrainedModel:
    config = LlavaOnevisionConfig(
        text_config=TEXT | {"model_type": "qwen2"},
        vision_config=SIGLIP | {"model_type": "siglip_vision_model", "vision_use_head": False},
        image_token_index=317,
        video_token_index=318,
        vision_feature_layer=-1,
    )
    return LlavaOnevisionForConditionalGeneration(config)


def internvl() -> PreTrainedModel:
    vision = SIGLIP | {"image_size": [32, 32], "patch_size": [8, 8]}
    config = InternVLConfig(
        text_config=TEXT | {"model_type": "qwen2"},
        vision_config=vision,
        image_token_id=317,
        downsample_ratio=0.5,
    )
    return InternVLForConditionalGeneration(config)


MAKERS = {
    "qwen2_5_vl": qwen2_5_vl,
    "qwen2_vl": qwen2_vl,
    "qwen3_vl": qwen3_vl,
    "smolvlm": smolvlm,
    "llava_onevision": llava_onevision,
    "internvl": internvl,
}


def make(kind: str, *, scale: float = 6) -> PreTrainedModel:
    """Make a model with random weights, scaled in the language model so that it has opinions."""
    torch.manual_seed(0)
    model = MAKERS[kind]()
    for name, weight in model.named_parameters():
        if weight.ndim > 1 and ("language_model" in name or "text_model" in name):
            weight.data.mul_(scale)
    return model.eval()
