"""`dualipo convert SOURCE [TARGET]`: pickled state dicts without their pickle.

A `.pt` or `.bin` file is a program in disguise, so the rest of dualipo refuses it (fault 49). Here
torch reads it with `weights_only=True`, which runs no code of the file's. A folder is converted to
the names that loaders look for, its weights one file or split over several by an index. Left out:
optimizers, whole pickled modules.
"""

import argparse
import json
import pickle
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dualipo.errors import ModelError

if TYPE_CHECKING:
    from torch import Tensor

# Trainers wrap the weights in one of these.
WRAPPERS = ("state_dict", "model_state_dict", "model", "module")
INDEX = ".bin.index.json"


def add(verbs: Any) -> None:
    """Declare the verb."""
    parser = verbs.add_parser("convert", help="turn .pt or .bin weights into safetensors")
    parser.add_argument(
        "source", type=Path, help="a .pt, .pth, .bin or .ckpt file, or a model's folder"
    )
    parser.add_argument(
        "target",
        type=Path,
        nargs="?",
        help="of a file; default: beside it, under the name that loaders look for",
    )
    parser.set_defaults(act=act)


def act(arguments: argparse.Namespace) -> int:
    """Convert a file, or what a folder holds, and print where it went."""
    source: Path = arguments.source
    if not source.is_dir():
        target: Path = arguments.target or _target(source)
        _refuse_existing(target)
        convert_file(source, target)
        return 0
    if arguments.target:
        raise ModelError(f"{source}: a folder is converted in place. Leave {arguments.target} out.")
    indices = sorted(source.glob(f"*{INDEX}"))
    if len(indices) == 1:
        convert_split(indices[0])
        return 0
    whole = source / "pytorch_model.bin"
    if indices or not whole.is_file():
        raise ModelError(
            f"{source}: {len(indices)} *{INDEX} and no pytorch_model.bin. Name the file to convert."
        )
    _refuse_existing(_target(whole))
    convert_file(whole, _target(whole))
    return 0


def convert_file(source: Path, target: Path) -> list[str]:
    """Convert one file and return the names of its tensors."""
    state_dict = read_state_dict(source)
    from dualipo.store import tensors

    tensors.save(target, state_dict, metadata={"format": "pt"})
    print(f"{target}: {len(state_dict)} tensors")
    return list(state_dict)


def convert_split(index: Path) -> None:
    """Convert the files that an index names, one in memory at a time, and write their index last.

    What an interrupted conversion left is written again: without its index nothing reads it.
    """
    from dualipo.store import atomic

    target = _target(index.with_name(index.name.removesuffix(INDEX) + ".bin"))
    target = target.with_name(f"{target.name}.index.json")
    _refuse_existing(target)
    files = _files_of(index)
    places: dict[str, str] = {}
    for file in sorted(set(files.values())):
        shard = _target(index.parent / file)
        places |= dict.fromkeys(convert_file(index.parent / file, shard), shard.name)
    if missing := sorted(files.keys() - places):
        raise ModelError(
            f"{index}: {len(missing)} of its tensors are in no file, the first {missing[0]}. "
            "Fetch the folder again, whole."
        )
    metadata = json.loads(index.read_text()).get("metadata", {})
    atomic.write_json(target, {"metadata": metadata, "weight_map": places})
    print(f"{target}: {len(places)} tensors")


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


def _files_of(index: Path) -> dict[str, str]:
    """The file of each tensor, by name; all beside the index."""
    try:
        files: dict[str, str] = dict(json.loads(index.read_text())["weight_map"])
    except (ValueError, KeyError, TypeError) as broken:
        raise ModelError(f"{index}: no index of weights ({broken!r}). Fetch it again.") from None
    for name in files.values():
        if Path(name).name != name:
            raise ModelError(f"{index}: {name!r} is not beside it. Ask its author for safetensors.")
    return files


def _target(source: Path) -> Path:
    """Where loaders look for what was in `source`."""
    return source.with_name(source.name.replace("pytorch_model", "model", 1)).with_suffix(
        ".safetensors"
    )


def _refuse_existing(target: Path) -> None:
    if target.exists():
        raise ModelError(f"{target}: exists already. Delete it, or give another name.")
