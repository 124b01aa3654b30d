"""Checkpoints of a training stage: `step-000123/` with tensors, state, and a manifest of hashes.

PyTorch and safetensors load a flipped bit silently, so nothing is trusted without its hash. A bad
checkpoint is put aside as `bad-step-...` and the one before it is used (fault 12, 13); when all
are bad the run stops, because starting afresh would pass for a resume (fault 14).

Left out: asynchronous saving. A save returns once it is durable. Sharded models are saved by
`training/sharded.py`, in folders that are found, put aside and purged here. It loads both kinds.
"""

import json
import logging
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from dualipo.errors import CheckpointError, DataError, ModelError
from dualipo.store import atomic
from dualipo.store import tensors as tensor_files

logger = logging.getLogger(__name__)

TENSORS = "tensors.safetensors"
_STATE = "state.json"
_MANIFEST = "manifest.json"
_NAME = re.compile(r"step-([0-9]{6,18})")


@dataclass(frozen=True)
class Checkpoint:
    """A saved step, from which a training loop goes on exactly: `state` holds the plain values."""

    step: int
    tensors: dict[str, torch.Tensor]
    state: dict[str, Any]


def save(
    folder: Path,
    *,
    step: int,
    tensors: Mapping[str, torch.Tensor],
    state: Mapping[str, Any],
    total_limit: int,
) -> Path:
    """Publish `folder/step-...` at once, then purge all but the newest `total_limit`."""
    path = folder / f"step-{step:06d}"
    num_bytes = sum(tensor.nbytes for tensor in tensors.values())
    with atomic.publish_folder(path, name="checkpoint", num_bytes=num_bytes) as temporary:
        tensor_files.write(temporary / TENSORS, tensors, metadata={"step": str(step)})
        seal(temporary, state)
    purge(folder, keep=total_limit)
    return path


def is_whole(path: Path) -> bool:
    """Tell whether `save` wrote a checkpoint, and not several ranks together."""
    return (path / TENSORS).is_file()


def load(path: Path) -> Checkpoint:
    """Read a checkpoint that `save` wrote."""
    return read(path, tensor_files.load(path / TENSORS))


def seal(folder: Path, state: Mapping[str, Any]) -> None:
    """Add the plain values to a checkpoint's tensor files, and a manifest with the hash of each."""
    (folder / _STATE).write_text(json.dumps(state, sort_keys=True, allow_nan=False))
    hashes = {path.name: atomic.xxh3_file(path) for path in sorted(folder.iterdir())}
    (folder / _MANIFEST).write_text(json.dumps(hashes, sort_keys=True))


def read(path: Path, tensors: dict[str, torch.Tensor]) -> Checkpoint:
    """Read the plain values beside tensors that were read already, and return the checkpoint."""
    return Checkpoint(step=_step_of(path), tensors=tensors, state=atomic.read_json(path / _STATE))


def newest(folder: Path) -> Path | None:
    """Return the newest checkpoint whose hashes agree; rename damaged ones to `bad-...`.

    Where none was ever saved, return None.
    """
    for path in reversed(list(_saved(folder))):
        try:
            _check(path)
            return path
        except (CheckpointError, DataError, ModelError) as fault:
            quarantine = _quarantine(path)
            logger.warning("%s Moved to %s; using the one before it.", fault, quarantine.name)
    if any(folder.glob("bad-*")):
        raise CheckpointError(
            f"{folder}: every checkpoint is damaged (see bad-*). Restore one from a backup, or "
            "delete the folder to train this stage from its start."
        )
    return None


def _check(path: Path) -> None:
    hashes = atomic.read_json(path / _MANIFEST)
    if not isinstance(hashes, dict):
        raise DataError(f"{path / _MANIFEST}: not a table of hashes.")
    for name in sorted({*hashes, _STATE}):
        if not (path / name).is_file():
            raise CheckpointError(f"{path}: {name} is missing.")
        if hashes.get(name) != atomic.xxh3_file(path / name):
            raise CheckpointError(f"{path}: {name} differs from its hash in {_MANIFEST}.")
    atomic.read_json(path / _STATE)


def _saved(folder: Path) -> Iterator[Path]:
    """Yield the checkpoints by step; a copy that somebody made has another name."""
    named = [path for path in folder.glob("step-*") if _NAME.fullmatch(path.name)]
    yield from sorted((path for path in named if path.is_dir()), key=_step_of)


def _step_of(path: Path) -> int:
    return int(path.name.removeprefix("step-"))


def _quarantine(path: Path) -> Path:
    number = len(list(path.parent.glob(f"bad-*{path.name}")))
    target = path.with_name(f"bad-{number}-{path.name}")
    os.rename(path, target)
    return target


def purge(folder: Path, *, keep: int) -> None:
    """Delete all but the newest `keep` checkpoints."""
    for path in list(_saved(folder))[:-keep]:
        try:
            atomic.remove_folder(path)
        except OSError as failure:
            # A checkpoint too many costs space; stopping would cost the training (fault 17).
            logger.warning("%s: not purged (%s). Delete it by hand.", path, failure)
