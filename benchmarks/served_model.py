"""A tiny Qwen2.5-VL that engines can serve, with random weights that were taught the grammar.

Its folder has all that a published one has: weights, tokenizer, chat template, preprocessors. The
sizes are the smallest that vLLM's kernels on a CPU take. What it says of a clip is a coin flip.
"""

import json
import random
from pathlib import Path
from typing import Any

import torch
from tokenizers import AddedToken
from transformers import (
    PreTrainedTokenizerFast,
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
)

from dualipo.config import Critic, CriticTraining
from dualipo.critic.learning import warm_start
from dualipo.critic.models.transformers_vlm import TransformersVlm
from dualipo.store import atomic

SIDE = 32  # pixels: two rows and two columns of visual tokens
MARKS = (
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<|image_pad|>",
    "<|video_pad|>",
)
# As Qwen2.5-VL's own, without the numbering of pictures and without tools.
CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "{% if loop.first and message['role'] != 'system' %}"
    "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n{% endif %}"
    "<|im_start|>{{ message['role'] }}\n"
    "{% if message['content'] is string %}{{ message['content'] }}{% else %}"
    "{% for part in message['content'] %}"
    "{% if part['type'] == 'video' or 'video' in part %}"
    "<|vision_start|><|video_pad|><|vision_end|>"
    "{% elif 'text' in part %}{{ part['text'] }}"
    "{% else %}<|vision_start|><|image_pad|><|vision_end|>{% endif %}"
    "{% endfor %}{% endif %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
PREPROCESSOR = {
    "image_processor_type": "Qwen2VLImageProcessor",
    "patch_size": 8,
    "merge_size": 2,
    "temporal_patch_size": 2,
    "min_pixels": 16 * 16,
    "max_pixels": 64 * 64,
    "size": {"shortest_edge": 16 * 16, "longest_edge": 64 * 64},
}
TRAINING = CriticTraining(learning_rate=1e-2, max_train_steps=60, train_batch_size=16)


def make(folder: Path) -> None:
    """Write the model's folder, taught to answer in the grammar and to prefer nothing."""
    from tests.rounds.models import noise_clip, random_traces, spoken

    traces = random_traces(random.Random(0))
    critic = TransformersVlm(
        _random_model(tokenizer := _tokenizer(spoken(traces))),
        tokenizer=tokenizer,
        settings=Critic(max_frames=2),
    )
    warm_start.supervise(
        critic,
        traces,
        clips=noise_clip,
        settings=TRAINING,
        checkpoint_folder=folder / "taught",
        seed=0,
    )
    critic.save(folder)
    atomic.remove_folder(folder / "taught")
    written = {
        "preprocessor_config.json": PREPROCESSOR,
        "video_preprocessor_config.json": PREPROCESSOR
        | {"video_processor_type": "Qwen2VLVideoProcessor"},
        "processor_config.json": {"processor_class": "Qwen2_5_VLProcessor"},
        "generation_config.json": {"eos_token_id": tokenizer.convert_tokens_to_ids(MARKS[2])},
    }
    for name, content in written.items():
        (folder / name).write_text(json.dumps(content, indent=2))


def _random_model(tokenizer: PreTrainedTokenizerFast) -> Qwen2_5_VLForConditionalGeneration:
    torch.manual_seed(0)
    ids = dict(zip(MARKS, tokenizer.convert_tokens_to_ids(list(MARKS)), strict=True))
    text: dict[str, Any] = {
        "vocab_size": len(tokenizer),
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "max_position_embeddings": 4096,
        "rms_norm_eps": 1e-6,
        "bos_token_id": ids["<|endoftext|>"],
        "eos_token_id": ids["<|im_end|>"],
        "pad_token_id": ids["<|endoftext|>"],
        "tie_word_embeddings": False,
        "rope_parameters": {
            "rope_type": "default",
            "mrope_section": [4, 6, 6],
            "rope_theta": 10000.0,
        },
    }
    vision = {
        "depth": 2,
        "hidden_size": 64,
        "intermediate_size": 128,
        "out_hidden_size": 64,
        "num_heads": 2,
        "patch_size": 8,
        "spatial_merge_size": 2,
        "temporal_patch_size": 2,
        "window_size": 32,
        "fullatt_block_indexes": [1],
        "tokens_per_second": 2,
    }
    config = Qwen2_5_VLConfig(
        text_config=text,
        vision_config=vision,
        image_token_id=ids["<|image_pad|>"],
        video_token_id=ids["<|video_pad|>"],
        vision_start_token_id=ids["<|vision_start|>"],
        vision_end_token_id=ids["<|vision_end|>"],
        tie_word_embeddings=False,
    )
    return Qwen2_5_VLForConditionalGeneration(config)


def _tokenizer(corpus: list[str]) -> PreTrainedTokenizerFast:
    from tests.critic.conftest import make_tokenizer

    tokenizer = make_tokenizer(corpus, vocab_size=512)
    tokenizer.add_tokens([AddedToken(mark, special=True, normalized=False) for mark in MARKS])
    tokenizer.eos_token = "<|im_end|>"
    tokenizer.chat_template = CHAT_TEMPLATE
    return tokenizer
