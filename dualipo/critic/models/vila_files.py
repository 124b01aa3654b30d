"""The small files of a folder as VILA publishes it, kept for the critic that is trained from it.

Servers and VILA's own code read more of them than `vila` does: `llm_cfg` and its like in
config.json, `num_video_frames`, the tokenizer's model, the frames' preprocessor. They are written
back unchanged, except for the number format of the weights. Python files are copied, never run.
A critic that was made here, or whose config.json lacks the three parts, has nothing to keep.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from dualipo.model_files import settings_files

CONFIG = "config.json"
SMALL_FILES = (".json", ".jinja", ".model", ".py", ".txt")
WEIGHTS_INDEX = ".index.json"  # ends the name of the list of files that hold split weights
DTYPE_KEYS = ("dtype", "torch_dtype")

Kept = Mapping[str, bytes]  # content by path in the folder


def read(folder: Path, *, parts: Sequence[str]) -> Kept:
    """Read the small files of a folder, if its config.json holds a block for each part."""
    top = settings_files.read(folder / CONFIG)
    if not all(isinstance(top.get(f"{part}_cfg"), dict) for part in parts):
        return {}
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for place in (folder, *(folder / part for part in parts))
        for path in sorted(place.iterdir())
        if path.suffix in SMALL_FILES and not path.name.endswith(WEIGHTS_INDEX) and path.is_file()
    }


def write(kept: Kept, folder: Path, *, dtype: str) -> None:
    """Write the kept files into `folder`, whose weights were saved as `dtype`."""
    for name, content in kept.items():
        path = folder / name
        path.write_bytes(_updated_config(content, dtype) if path.name == CONFIG else content)


def model_type(kept: Kept, part: str) -> str | None:
    """Return the model type in a part's config.json; None where nothing is kept."""
    content = kept.get(f"{part}/{CONFIG}")
    return json.loads(content).get("model_type") if content else None


def _updated_config(content: bytes, dtype: str) -> bytes:
    """Return a config.json with the number format in which the weights are saved now."""
    config = json.loads(content)
    updated = _with_dtype(config, dtype)
    return content if updated == config else (json.dumps(updated, indent=2) + "\n").encode()


def _with_dtype(config: Mapping[str, Any], dtype: str) -> dict[str, Any]:
    return {
        key: _with_dtype(value, dtype)
        if isinstance(value, dict)
        else dtype
        if key in DTYPE_KEYS and value
        else value
        for key, value in config.items()
    }
