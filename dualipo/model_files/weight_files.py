"""Which files hold a part's weights, and what they say: names, shapes, formats, finite numbers.

Headers are read, and of each weight the first and the last numbers, so a folder of any size is
examined at once. NaN and infinity are looked for there alone: what makes them (a training that
diverged, a conversion to a format of less range) seldom spares both ends of a weight, and to read
all of a model of 14 billion parameters would take a minute in each dry run.

Loaders look for one file by its name, STEM.safetensors, or for an index that names the shards,
STEM.safetensors.index.json. The stem is `model` for transformers, `diffusion_pytorch_model` for
diffusers. What they would not look for is named in the error: pickled weights, a variant
(`*.fp16.*`), shards without an index.
"""

import math
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from dualipo.errors import ModelError
from dualipo.model_files import settings_files

TRANSFORMERS, DIFFUSERS = "model", "diffusion_pytorch_model"
FETCH = "Fetch the folder again, whole."

_INDEX = ".safetensors.index.json"
_PICKLED = (".bin", ".pt", ".pth", ".ckpt")
_LFS_POINTER = b"version https://git-lfs"
# Formats that become float32 or bfloat16 without a scale that stands elsewhere.
_PLAIN = {"F64", "F32", "F16", "BF16", "I64", "I32", "BOOL"}
_NUM_SAMPLED = 2**16  # numbers of a weight that are looked at, half of them at each end


class Stored(NamedTuple):
    """What a header says of a weight."""

    shape: tuple[int, ...]
    number_format: str


def headers(folder: Path, *, stem: str) -> dict[str, Stored]:
    """Return what is stored of every weight of a part, by name; refuse what is not whole."""
    stored: dict[str, Stored] = {}
    paths = files(folder, stem=stem)
    for path in paths:
        stored |= header(path)
    quantised = sorted(name for name, (_, kind) in stored.items() if kind not in _PLAIN)
    if quantised:
        raise ModelError(
            f"{folder}: {len(quantised)} weights are quantised, the first is {quantised[0]} in "
            f"{stored[quantised[0]].number_format}. Use the model's plain weights."
        )
    for path in paths:
        _refuse_not_finite(path)
    return stored


def files(folder: Path, *, stem: str) -> list[Path]:
    """Return the files that a loader reads, all of which are there."""
    if not folder.is_dir():
        raise ModelError(f"{folder}: no such folder. {FETCH}")
    whole, index = folder / f"{stem}.safetensors", folder / f"{stem}{_INDEX}"
    if whole.is_file() and index.is_file():
        raise ModelError(
            f"{folder}: holds {whole.name} and {index.name}, and which of them counts is not "
            "known. Delete the one that does not belong to the model."
        )
    if whole.is_file():
        return [whole]
    return _shards(index) if index.is_file() else _name_what_is_there(folder, stem)


def refuse_pointer(path: Path) -> None:
    """Raise a ModelError where a file is what Git leaves of a large one that was not fetched."""
    with path.open("rb") as stream:
        if stream.read(len(_LFS_POINTER)) == _LFS_POINTER:
            raise ModelError(
                f"{path}: a pointer of Git LFS, not the file itself. Run `git lfs pull` in "
                f"{path.parent}."
            )


def _shards(index: Path) -> list[Path]:
    places = settings_files.read(index).get("weight_map")
    if not isinstance(places, dict) or not places:
        raise ModelError(f"{index}: names no files of weights. {settings_files.RESTORE}")
    names = sorted({str(name) for name in places.values()})
    for name in names:
        if Path(name).name != name or not name.endswith(".safetensors"):
            raise ModelError(f"{index}: {name!r} is no *.safetensors beside it. {FETCH}")
        if not (index.parent / name).is_file():
            raise ModelError(f"{index.parent}: {name} is missing, which the index names. {FETCH}")
    paths = [index.parent / name for name in names]
    held = {weight for path in paths for weight in header(path)}
    if absent := sorted(places.keys() - held):
        raise ModelError(
            f"{index}: {len(absent)} of its weights are in no file, the first is {absent[0]}. "
            f"{FETCH}"
        )
    return paths


def header(path: Path) -> dict[str, Stored]:
    """Return what one file holds, by name; refuse one that is not whole."""
    try:
        refuse_pointer(path)
        with safe_open(path, framework="pt") as opened:
            slices = {name: opened.get_slice(name) for name in opened.keys()}  # noqa: SIM118
            return {
                name: Stored(tuple(part.get_shape()), part.get_dtype())
                for name, part in slices.items()
            }
    except (SafetensorError, OSError) as broken:
        raise ModelError(f"{path}: not whole safetensors ({broken}). {FETCH}") from None


def _refuse_not_finite(path: Path) -> None:
    with safe_open(path, framework="pt") as opened:
        names = sorted(opened.keys())
        odd = [name for name in names if not bool(torch.isfinite(_ends(opened, name)).all())]
    if odd:
        raise ModelError(
            f"{path}: {len(odd)} weights hold NaN or infinity, the first is {odd[0]}. {FETCH}"
        )


def _ends(opened: Any, name: str) -> Tensor:
    """Read the numbers at both ends of a weight, all of them where it is small."""
    rows = opened.get_slice(name)
    shape = rows.get_shape()
    size = math.prod(shape)
    if size <= _NUM_SAMPLED:
        whole: Tensor = opened.get_tensor(name)
        return whole
    num_rows = max(1, _NUM_SAMPLED // 2 * shape[0] // size)
    return torch.cat([rows[:num_rows].flatten(), rows[shape[0] - num_rows :].flatten()])


def _name_what_is_there(folder: Path, stem: str) -> NoReturn:
    """Refuse a part without the file that loaders look for, and name what it holds instead."""
    names = sorted(path.name for path in folder.iterdir() if path.is_file())
    tensors = [name for name in names if name.endswith(".safetensors")]
    pickled = [name for name in names if name.endswith(_PICKLED)]
    variants = sorted({name.split(".")[1] for name in tensors if name.startswith(f"{stem}.")})
    if len(variants) > 0:
        raise ModelError(
            f"{folder}: holds its weights as the variant {' and '.join(variants)} only, which is "
            f"not looked for. Rename {stem}.{variants[0]}.safetensors to {stem}.safetensors."
        )
    if any("-of-" in name for name in tensors):
        raise ModelError(
            f"{folder}: {tensors[0]} is one file of several, and {stem}{_INDEX} is missing. {FETCH}"
        )
    if tensors:
        raise ModelError(
            f"{folder}: {tensors[0]} is not the name under which weights are looked for. Rename it "
            f"to {stem}.safetensors if it holds them."
        )
    if pickled:
        raise ModelError(
            f"{folder}: no *.safetensors but {', '.join(pickled)}. Pickled weights run code and "
            f"are refused: run `dualipo convert {folder}`, or fetch the safetensors of this model."
        )
    raise ModelError(f"{folder}: no weights in it. {FETCH}")
