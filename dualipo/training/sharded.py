"""Checkpoints of several ranks: PyTorch's distributed format (DCP), with a manifest of hashes.

Every rank writes its own shards; the first hashes all files and publishes the folder at once. What
is damaged is put aside, as `store/checkpoint.py` does (faults 12 to 14): DCP itself loads a flipped
bit silently. The number of ranks may change between a save and a load (fault 46).
"""

import contextlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
import torch.distributed.checkpoint as dcp
from torch import Tensor

from dualipo.errors import CheckpointError, DataError
from dualipo.store import atomic, checkpoint
from dualipo.store.checkpoint import Checkpoint
from dualipo.training import ranks

_STATE = "state.json"
_MANIFEST = "manifest.json"


def save(
    folder: Path,
    *,
    step: int,
    tensors: Mapping[str, Tensor],
    state: Mapping[str, Any],
    total_limit: int,
) -> None:
    """As `checkpoint.save`; every rank calls it."""
    with _published(folder / f"step-{step:06d}") as temporary:
        dcp.save(dict(tensors), checkpoint_id=temporary)
        if ranks.rank() == 0:
            (temporary / _STATE).write_text(json.dumps(state, sort_keys=True, allow_nan=False))
            hashes = {path.name: atomic.xxh3_file(path) for path in sorted(temporary.iterdir())}
            (temporary / _MANIFEST).write_text(json.dumps(hashes, sort_keys=True))
    if ranks.rank() == 0:
        checkpoint.purge(folder, keep=total_limit)


def load_latest(folder: Path, *, weights: Mapping[str, Tensor]) -> Checkpoint | None:
    """As `checkpoint.load_latest`; what belongs to one of `weights` is sharded as that is."""
    found: Path | str | None = None
    if ranks.rank() == 0:
        try:
            found = checkpoint.newest(folder, check=_check)
        except CheckpointError as fault:
            found = str(fault)
    found = ranks.from_first(found)
    if isinstance(found, str):
        raise CheckpointError(found)
    if found is None:
        return None
    stored = dcp.FileSystemReader(found).read_metadata().state_dict_metadata
    tensors = {key: _like(key, entry, weights) for key, entry in stored.items()}
    dcp.load(tensors, checkpoint_id=found)
    step = int(found.name.removeprefix("step-"))
    return Checkpoint(step=step, tensors=tensors, state=atomic.read_json(found / _STATE))


@contextlib.contextmanager
def _published(path: Path) -> Iterator[Path]:
    """The first rank's temporary folder, known to all, published when all have written."""
    with contextlib.ExitStack() as stack:
        temporary = None
        if ranks.rank() == 0:
            temporary = stack.enter_context(atomic.publish_folder(path, name="checkpoint"))
        name = ranks.from_first(temporary)
        assert name is not None, "the first rank has made it"
        yield name
    ranks.wait()


def _check(path: Path) -> None:
    hashes = atomic.read_json(path / _MANIFEST)
    if not isinstance(hashes, dict):
        raise DataError(f"{path / _MANIFEST}: not a table of hashes.")
    for name, expected in hashes.items():
        if not (path / name).is_file():
            raise CheckpointError(f"{path}: {name} is missing.")
        if atomic.xxh3_file(path / name) != expected:
            raise CheckpointError(f"{path}: {name} differs from its hash in {_MANIFEST}.")


def _like(key: str, entry: Any, weights: Mapping[str, Tensor]) -> Tensor:
    """An empty tensor for `model.NAME` or `optimizer.MOMENT.NAME`, in the layout of weight NAME."""
    first, _, rest = key.partition(".")
    weight = weights.get(rest if first == "model" else rest.partition(".")[2])
    if weight is not None and weight.shape == entry.size:
        return torch.zeros_like(weight)
    return torch.zeros(entry.size, dtype=entry.properties.dtype)
