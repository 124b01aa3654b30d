"""A critic's parts from local folders, through the guard of `model_files`."""

from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, PreTrainedTokenizerBase

from dualipo.config import Critic
from dualipo.critic.models.tokens import Tokens
from dualipo.model_files import guard, tokenizer


def read(kind: Any, folder: Path, *, settings: Critic) -> Any:
    """Load a transformers model of a critic in `settings.torch_dtype`."""
    return guard.read_transformers(
        kind,
        folder,
        dtype=getattr(torch, settings.torch_dtype),
        attn_implementation="sdpa",  # takes the masks that keep branches apart
    )


def read_tokenizer(folder: Path) -> PreTrainedTokenizerBase:
    """Read the tokenizer of a language model; refuse one of another model."""
    text: PreTrainedTokenizerBase = tokenizer.read(folder)
    with guard.reading(folder):
        config = AutoConfig.from_pretrained(folder, **guard.LOCAL).get_text_config()
        num_embeddings = int(config.vocab_size)
        Tokens(text)
    tokenizer.refuse_other_vocabulary(folder, text, num_embeddings=num_embeddings)
    return text
