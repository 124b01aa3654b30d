"""A pipeline's folder in diffusers' layout: its index, and the parts that no alignment touches.

A trained version is a transformer; with the base folder's other parts it is a pipeline again, which
`DiffusionPipeline.from_pretrained` takes. The licence is one of these parts; pickled weights
(FAULTS.md 49), the base's card and its samples are not.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from dualipo.errors import DataError, ModelError
from dualipo.store import atomic

INDEX = "model_index.json"
TRANSFORMER = "transformer"
_PICKLED = {".bin", ".pt", ".pth", ".ckpt"}
_TERMS = ("LICENSE*", "LICENCE*", "NOTICE*")


def read_index(folder: Path) -> dict[str, Any]:
    """Read a pipeline's index: its class, and its parts by name."""
    path = folder / INDEX
    if not path.is_file():
        raise ModelError(
            f"{folder}: no {INDEX}, hence no diffusers pipeline. Download one first "
            "(`hf download Wan-AI/Wan2.1-T2V-1.3B-Diffusers --local-dir FOLDER`) and name FOLDER."
        )
    try:
        parts = atomic.read_json(path)
    except DataError as broken:
        raise ModelError(f"{broken} Or download {folder} again.") from broken
    if not isinstance(parts, dict):
        raise ModelError(f"{path}: not a table of parts. Download {folder} again.")
    return parts


def other_parts(folder: Path) -> dict[str, Path]:
    """List a pipeline's files without its transformer's: path inside the folder -> the file."""
    names = [name for name, kind in read_index(folder).items() if _is_part(kind)]
    paths = [folder / INDEX, *(path for pattern in _TERMS for path in folder.glob(pattern))]
    for name in names:
        if not name.isidentifier():  # it becomes a folder's name where the pipeline goes
            raise ModelError(f"{folder / INDEX}: {name!r} names no part. Download it again.")
        if name != TRANSFORMER:
            paths += _files(folder, name)
    return {path.relative_to(folder).as_posix(): path for path in paths if path.is_file()}


def _files(folder: Path, part: str) -> Iterator[Path]:
    inside = [path for path in sorted((folder / part).rglob("*")) if path.is_file()]
    if not inside:
        raise ModelError(f"{folder}: its part {part} is missing. Download the folder again.")
    yield from (path for path in inside if not _PICKLED & {*path.suffixes})


def _is_part(kind: Any) -> bool:
    """Tell whether an entry of the index is [library, class]: no setting, and no empty part."""
    return isinstance(kind, list) and len(kind) == 2 and all(kind)
