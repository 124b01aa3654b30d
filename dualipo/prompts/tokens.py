"""Counts the tokens of captions as the generator's text encoder will, special tokens included."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from dualipo.errors import ModelError
from dualipo.model_files import settings_files

Counter = Callable[[Sequence[str]], np.ndarray]


def counter(folder: Path) -> Counter:
    """Return a function from captions to their numbers of tokens.

    `folder` holds a tokenizer, or is a model's folder with one in `tokenizer`.
    """
    own = folder / "tokenizer" if (folder / "tokenizer").is_dir() else folder
    if (own / "tokenizer.json").is_file():
        return _fast(own / "tokenizer.json")
    if not any((own / name).is_file() for name in ("spiece.model", "tokenizer.model")):
        raise ModelError(
            f"{folder}: no tokenizer.json, spiece.model or tokenizer.model. Name the generator's "
            "folder, or its tokenizer's."
        )
    return _slow(own)


def _fast(path: Path) -> Counter:
    from tokenizers import Tokenizer

    settings_files.read(path)
    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as broken:  # the library raises no class of its own
        raise ModelError(
            f"{path}: not a tokenizer ({broken}). {settings_files.RESTORE}"
        ) from broken
    tokenizer.no_truncation()
    tokenizer.no_padding()

    def count(captions: Sequence[str]) -> np.ndarray:
        encoded = tokenizer.encode_batch_fast(list(captions))
        return np.array([len(encoding) for encoding in encoded], dtype=np.int64)

    return count


def _slow(folder: Path) -> Counter:
    from dualipo.model_files import tokenizer as tokenizers  # imports torch

    tokenizer = tokenizers.read(folder)

    def count(captions: Sequence[str]) -> np.ndarray:
        encoded = tokenizer(list(captions), truncation=False, padding=False)["input_ids"]
        return np.array([len(ids) for ids in encoded], dtype=np.int64)

    return count
