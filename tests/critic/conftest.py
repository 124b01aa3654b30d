"""A random critic of a few thousand weights in VILA's layout, and clips to show it."""

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
    SiglipVisionConfig,
    SiglipVisionModel,
)

from dualipo.config import Critic
from dualipo.critic.projector import MmProjector
from dualipo.critic.vila import Vila, VilaModule
from dualipo.critic.vlm import Query

CORPUS = ["A: good normal bad tie", "<verdict>A</verdict>", "<grade>good</grade>", "B: Grade:"] * 9


def make_tokenizer() -> PreTrainedTokenizerFast:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=320,
        special_tokens=["<pad>", "<s>", "</s>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(CORPUS, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", bos_token="<s>", eos_token="</s>"
    )


def make_vila(seed: int = 0, *, settings: Critic | None = None, max_length: int = 1024) -> Vila:
    torch.manual_seed(seed)
    tokenizer = make_tokenizer()
    llm = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=32,
            intermediate_size=64,
            num_hidden_layers=2,
            num_attention_heads=2,
            max_position_embeddings=max_length,
            pad_token_id=0,
            bos_token_id=1,
            eos_token_id=2,
        )
    )
    vision = SiglipVisionModel(
        SiglipVisionConfig(
            hidden_size=32,
            intermediate_size=64,
            num_hidden_layers=2,
            num_attention_heads=2,
            image_size=32,
            patch_size=8,
        )
    )
    # Random weights of the usual size make nearly uniform outputs; larger ones make opinions.
    for weight in llm.parameters():
        if weight.ndim > 1:
            weight.data.mul_(8)
    return Vila(
        VilaModule(llm, vision, MmProjector(32, 32)),
        tokenizer=tokenizer,
        settings=settings or Critic(max_frames=3),
        model_max_length=max_length,
    )


def make_clip(seed: int, num_frames: int = 4, size: int = 32) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (num_frames, size, size, 3), dtype=np.uint8)


def make_query(kind: str = "pair", seed: int = 0, **changes) -> Query:
    count = 2 if kind == "pair" else 1
    fields = {
        "kind": kind,
        "caption": "a red ball rolls",
        "dimension": "motion",
        "clips": tuple(make_clip(10 * seed + i) for i in range(count)),
        "clip_ids": tuple(f"clip{10 * seed + i}" for i in range(count)),
    }
    return Query(**(fields | changes))


@pytest.fixture
def vila() -> Vila:
    return make_vila()
