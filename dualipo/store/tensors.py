"""Tensors in safetensors files, which are published whole and known by their sha256.

Metadata (axis order, model hash, ...) travels in the file's header. Pickle files are refused, for
loading one runs whatever code it holds (fault 49).

Left out: sharding. One file holds one model's or one batch's tensors.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file

from dualipo.errors import ModelError
from dualipo.store import atomic

_PICKLE_SUFFIXES = {".pt", ".pth", ".bin", ".ckpt", ".pkl", ".pickle"}


def save(path: Path, tensors: Mapping[str, torch.Tensor], *, metadata: Mapping[str, str]) -> str:
    """Publish `tensors` and return the file's sha256, which depends on content alone."""
    _refuse_pickle(path)
    num_bytes = sum(tensor.nbytes for tensor in tensors.values())
    with atomic.publish(path, num_bytes=num_bytes) as temporary:
        write(temporary, tensors, metadata=metadata)
        return atomic.sha256_file(temporary)


def load(path: Path) -> dict[str, torch.Tensor]:
    """Read all tensors of `path`."""
    _refuse_pickle(path)
    _require_file(path)
    try:
        return load_file(path)
    except SafetensorError as broken:
        raise ModelError(f"{path}: not safetensors ({broken}). Restore or rewrite it.") from None


def read_metadata(path: Path) -> dict[str, str]:
    """Read the header's metadata without the tensors."""
    _refuse_pickle(path)
    try:
        with safe_open(path, framework="pt") as opened:
            return opened.metadata() or {}
    except (SafetensorError, FileNotFoundError) as broken:
        raise ModelError(f"{path}: not safetensors ({broken}). Restore or rewrite it.") from None


def write(path: Path, tensors: Mapping[str, torch.Tensor], *, metadata: Mapping[str, str]) -> None:
    """Write a part of a folder that is yet to be published; its bytes depend on content alone."""
    contiguous = {name: tensor.detach().contiguous() for name, tensor in tensors.items()}
    save_file(contiguous, path, metadata=dict(metadata))
    _sort_metadata(path)


def hash_parameters(state_dict: Mapping[str, torch.Tensor]) -> str:
    """Hash names, dtypes, shapes and bytes: the identity of a model's weights (fault 34)."""
    digest = hashlib.sha256()
    for name in sorted(state_dict):
        tensor = state_dict[name].detach().to("cpu").contiguous()
        digest.update(json.dumps([name, str(tensor.dtype), list(tensor.shape)]).encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _sort_metadata(path: Path) -> None:
    """Rewrite the header with sorted metadata: the library writes it in a random order."""
    with open(path, "r+b") as stream:
        length = int.from_bytes(stream.read(8), "little")
        header = json.loads(stream.read(length))
        header["__metadata__"] = dict(sorted(header.get("__metadata__", {}).items()))
        text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
        assert len(text) <= length, "the header grew"
        stream.seek(8)
        stream.write(text.ljust(length))


def _require_file(path: Path) -> None:
    if not path.is_file():
        raise ModelError(f"{path}: no such file. Repeat the stage that writes it.")


def _refuse_pickle(path: Path) -> None:
    if path.suffix.lower() in _PICKLE_SUFFIXES:
        raise ModelError(
            f"{path}: a {path.suffix} file is a pickle, which can run code when it is loaded. "
            "Convert it once with `dualipo convert` and use the .safetensors file."
        )
