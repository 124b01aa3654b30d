"""Models from local folders: safetensors only, every weight there, no foreign code.

These are faults 13, 49 and 53.
"""

import importlib
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from dualipo.config import Critic
from dualipo.errors import ModelError

LOCAL: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
BROKEN = (OSError, ValueError, KeyError, RuntimeError, SafetensorError)


def tokenizer(folder: Path) -> PreTrainedTokenizerBase:
    """Read a folder's tokenizer, also where the folder has only a tokenizer.model."""
    if (folder / "tokenizer.model").is_file() and not (folder / "tokenizer.json").is_file():
        _require_sentencepiece(folder / "tokenizer.model")
    return AutoTokenizer.from_pretrained(folder, **LOCAL)


def read(kind: Any, folder: Path, *, settings: Critic) -> Any:
    """Load a model; refuse it if a weight is in no file, because that one would be random."""
    model, report = kind.from_pretrained(
        folder,
        **LOCAL,
        use_safetensors=True,
        dtype=getattr(torch, settings.torch_dtype),
        attn_implementation="sdpa",  # takes the masks that keep branches apart
        output_loading_info=True,
    )
    require_all(folder, report["missing_keys"])
    return model


def require_all(folder: Path, missing: Any) -> None:
    """Refuse a model if any weight is missing."""
    if missing:
        raise ModelError(
            f"{folder}: {len(missing)} weights are missing, the first {min(missing)}. "
            "Fetch the folder again, whole."
        )


def require_safetensors(folder: Path) -> None:
    """Refuse a folder without safetensors: pickled weights run code."""
    if not any(folder.glob("*.safetensors")):
        raise ModelError(
            f"{folder}: no *.safetensors. Pickled weights run code and are refused: run "
            f"`dualipo convert {folder}`."
        )
    if not (folder / "config.json").is_file():
        raise ModelError(f"{folder}: no config.json. Copy the one the model was published with.")


def _require_sentencepiece(path: Path) -> None:
    """Refuse a tokenizer.model that cannot be read, and name the package that reads it.

    Without this check transformers would name another package, which does not help.
    """
    try:
        importlib.import_module("google.protobuf")
        sentencepiece = importlib.import_module("sentencepiece")
    except ImportError as missing:
        raise ModelError(
            f"{path}: takes sentencepiece and protobuf to read ({missing}). Run "
            '`pip install -c constraints.txt ".[vila]"`.'
        ) from missing
    try:
        sentencepiece.SentencePieceProcessor(model_file=str(path))
    except BROKEN as broken:
        raise ModelError(
            f"{path}: not a sentencepiece model ({broken}). Fetch the file again, whole."
        ) from broken
