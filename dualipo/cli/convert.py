"""`dualipo convert model.pt [model.safetensors]`: a pickled state dict without its pickle.

A `.pt` or `.bin` file is a program in disguise, so the rest of dualipo refuses it (fault 49). Here
torch reads it with `weights_only=True`, which runs no code of the file's. Left out: optimizers,
whole pickled modules, sharded checkpoints.
"""

import argparse
import pickle
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dualipo.errors import ModelError

if TYPE_CHECKING:
    from torch import Tensor

# Trainers wrap the weights in one of these.
WRAPPERS = ("state_dict", "model_state_dict", "model", "module")


def add(verbs: Any) -> None:
    """Declare the verb."""
    parser = verbs.add_parser("convert", help="turn a .pt or .bin state dict into safetensors")
    parser.add_argument("source", type=Path, help="a .pt, .pth, .bin or .ckpt file")
    parser.add_argument(
        "target", type=Path, nargs="?", help="default: beside it, ending in .safetensors"
    )
    parser.set_defaults(act=act)


def act(arguments: argparse.Namespace) -> int:
    """Convert one file and print where it went."""
    source: Path = arguments.source
    target: Path = arguments.target or source.with_suffix(".safetensors")
    if target.exists():
        raise ModelError(f"{target}: exists already. Delete it, or give another name.")
    state_dict = read_state_dict(source)
    from dualipo.store import tensors

    tensors.save(target, state_dict, metadata={"format": "pt"})
    print(f"{target}: {len(state_dict)} tensors")
    return 0


def read_state_dict(source: Path) -> dict[str, "Tensor"]:
    """Read named tensors; what would run code, or is not a state dict, is refused."""
    import torch

    if not source.is_file():
        raise ModelError(f"{source}: no such file. Give the .pt or .bin file to convert.")
    try:
        found = torch.load(source, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as refusal:
        reason = str(refusal).strip().splitlines()[-1]
        raise ModelError(
            f"{source}: holds more than tensors, and loading that could run code ({reason}). "
            "Nothing was run. Ask its author for safetensors."
        ) from None
    except (RuntimeError, EOFError, ValueError, KeyError) as broken:
        raise ModelError(f"{source}: cannot be read ({broken}). Download it again.") from None
    return _named_tensors(found, source)


def _named_tensors(found: Any, source: Path) -> dict[str, "Tensor"]:
    import torch

    if isinstance(found, dict):
        wrapped = [found[name] for name in WRAPPERS if isinstance(found.get(name), dict)]
        found = wrapped[0] if wrapped else found
    # A clone of each: tied weights share memory, which safetensors does not store.
    if isinstance(found, dict) and all(isinstance(value, torch.Tensor) for value in found.values()):
        return {str(name): tensor.clone() for name, tensor in found.items()}
    raise ModelError(
        f"{source}: not a state dict (names to tensors). Save `model.state_dict()`, convert that."
    )
