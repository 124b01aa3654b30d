"""A pipeline's folder in diffusers' layout: its index, and the parts that no alignment touches.

A trained version is a transformer; with the base folder's other parts it is a pipeline again, which
`DiffusionPipeline.from_pretrained` takes. The licence is one of these parts; pickled weights
(FAULTS.md 49), the base's card and its samples are not.
"""

from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

from dualipo.errors import ModelError
from dualipo.model_files import settings_files

INDEX = "model_index.json"
TRANSFORMER = "transformer"
LIBRARIES = ("diffusers", "transformers")
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
    return settings_files.read(path)


def part_class(folder: Path, name: str) -> Any:
    """Return the library's class that a pipeline's index names for a part."""
    kind: Any = read_index(folder).get(name)
    if not _is_part(kind):
        raise ModelError(f"{folder / INDEX}: names no {name}. {settings_files.RESTORE}")
    library, class_name = map(str, kind)
    if library not in LIBRARIES:
        raise ModelError(
            f"{folder / INDEX}: its {name} is {class_name} of {library!r}, and no foreign code is "
            f"run. Use a model whose parts are of {' and '.join(LIBRARIES)}."
        )
    if not isinstance(part := getattr(import_module(library), class_name, None), type):
        raise ModelError(
            f"{folder / INDEX}: its {name} is {class_name}, which the installed {library} does not "
            "know. Install a newer one, or use another model."
        )
    return part


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
