"""`dualipo convert SOURCE [TARGET]`: turns pickled state dicts into safetensors.

A `.pt` or `.bin` file is a program in disguise, so the rest of dualipo refuses it (fault 49). Here
torch reads it with `weights_only=True`, which runs no code of the file's. The weights of a folder,
one file or several with an index, are converted to the names that loaders look for. Optimizers and
whole pickled modules are left out.
"""

import argparse
import json
import pickle
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dualipo.cli.verbs import add_verb
from dualipo.errors import ModelError

if TYPE_CHECKING:
    from torch import Tensor

# Trainers wrap the weights in one of these.
WRAPPERS = ("state_dict", "model_state_dict", "model", "module")
INDEX = ".bin.index.json"
# As transformers and diffusers name the one file of weights.
WHOLE = ("pytorch_model.bin", "diffusion_pytorch_model.bin")


def add(verbs: Any) -> None:
    """Declare the verb."""
    parser = add_verb(
        verbs,
        "convert",
        "Turn .pt or .bin weights into safetensors. No code in the file is run, and a folder is "
        "converted in place.",
    )
    parser.add_argument(
        "source", type=Path, help="A .pt, .pth, .bin or .ckpt file, or a model's folder."
    )
    parser.add_argument(
        "target",
        type=Path,
        nargs="?",
        help="The file to write (default: beside the source, under the name that loaders expect).",
    )
    parser.set_defaults(act=act)


def act(arguments: argparse.Namespace) -> int:
    """Convert a file or a folder's weights, and print where they went."""
    source: Path = arguments.source
    if not source.is_dir():
        target: Path = arguments.target or _target(source)
        _refuse_existing(target)
        convert_file(source, target)
        return 0
    if arguments.target:
        raise ModelError(f"{source}: a folder is converted in place. Leave out {arguments.target}.")
    indices = sorted(source.glob(f"*{INDEX}"))
    if len(indices) == 1:
        convert_split(indices[0])
        return 0
    whole = [source / name for name in WHOLE if (source / name).is_file()]
    if indices or len(whole) != 1:
        raise ModelError(
            f"{source}: it holds {len(indices)} files *{INDEX}, and {len(whole)} of "
            f"{' and '.join(WHOLE)}. Name the file to convert."
        )
    _refuse_existing(_target(whole[0]))
    convert_file(whole[0], _target(whole[0]))
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

    An interrupted conversion is repeated whole: without the index nothing reads what it wrote.
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
            f"{index}: {len(missing)} of its tensors are in no file, the first is {missing[0]}. "
            "Fetch the folder again, whole."
        )
    metadata = json.loads(index.read_text(encoding="utf-8")).get("metadata", {})
    atomic.write_json(target, {"metadata": metadata, "weight_map": places})
    print(f"{target}: {len(places)} tensors")


def read_state_dict(source: Path) -> dict[str, "Tensor"]:
    """Read named tensors; refuse a file that would run code or is not a state dict."""
    import torch

    if not source.is_file():
        raise ModelError(f"{source}: there is no such file. Give the .pt or .bin file to convert.")
    try:
        content = torch.load(source, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as refusal:
        reason = str(refusal).strip().splitlines()[-1]
        raise ModelError(
            f"{source}: it holds more than tensors, and to load it could run code ({reason}). "
            "Nothing was run. Ask its author for safetensors."
        ) from None
    except (RuntimeError, EOFError, ValueError, KeyError) as broken:
        raise ModelError(f"{source}: it cannot be read ({broken}). Download it again.") from None
    return _named_tensors(content, source)


def _named_tensors(content: Any, source: Path) -> dict[str, "Tensor"]:
    """Return the state dict that a file's content is, or that it wraps."""
    import torch

    weights = content
    if isinstance(content, dict):
        wrapped = [content[name] for name in WRAPPERS if isinstance(content.get(name), dict)]
        weights = wrapped[0] if wrapped else content
    if isinstance(weights, dict) and all(isinstance(w, torch.Tensor) for w in weights.values()):
        # Each is cloned: tied weights share memory, which safetensors does not store.
        return {str(name): tensor.clone() for name, tensor in weights.items()}
    raise ModelError(
        f"{source}: it is not a state dict of names and tensors. Save `model.state_dict()`, and "
        "convert that."
    )


def _files_of(index: Path) -> dict[str, str]:
    """Read the file of each tensor, by name; refuse files that are not beside the index."""
    try:
        files: dict[str, str] = dict(json.loads(index.read_text(encoding="utf-8"))["weight_map"])
    except (ValueError, KeyError, TypeError) as broken:
        raise ModelError(
            f"{index}: it is no index of weights ({broken!r}). Fetch it again."
        ) from None
    for name in files.values():
        if Path(name).name != name:
            raise ModelError(
                f"{index}: it names {name!r}, which is not beside it. Ask its author for "
                "safetensors."
            )
    return files


def _target(source: Path) -> Path:
    """Return the path at which loaders look for the weights of `source`."""
    name = source.name
    if name.startswith("pytorch_model"):  # diffusers keeps its longer name
        name = name.replace("pytorch_model", "model", 1)
    return source.with_name(name).with_suffix(".safetensors")


def _refuse_existing(target: Path) -> None:
    if target.exists():
        raise ModelError(f"{target}: it exists already. Delete it, or give another name.")
