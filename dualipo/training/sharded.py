"""Checkpoints of several ranks: PyTorch's distributed format (DCP), with a manifest of hashes.

Every rank writes its own shards; the first hashes all files and publishes the folder at once. What
is damaged is put aside, as `store/checkpoint.py` does (faults 12 to 14): DCP itself loads a flipped
bit silently. Other ranks than those that saved could load them and go on with the same batches
(fault 46), but sums would round otherwise: a run's `align.num_processes` may not change (fault 47).
"""

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
import torch.distributed.checkpoint as dcp
from torch import Tensor

from dualipo.errors import CheckpointError
from dualipo.store import atomic, checkpoint
from dualipo.store.checkpoint import Checkpoint
from dualipo.training import ranks


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
            checkpoint.seal(temporary, state)
    if ranks.rank() == 0:
        checkpoint.purge(folder, keep=total_limit)


def load_latest(folder: Path, *, weights: Mapping[str, Tensor]) -> Checkpoint | None:
    """As `checkpoint.load_latest`; what belongs to one of `weights` is sharded as that is."""
    found: Path | str | None = None
    if ranks.rank() == 0:
        try:
            found = checkpoint.newest(folder)
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
    return checkpoint.read(found, tensors)


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


def _like(key: str, entry: Any, weights: Mapping[str, Tensor]) -> Tensor:
    """An empty tensor for `model.NAME` or `optimizer.MOMENT.NAME`, in the layout of weight NAME."""
    first, _, rest = key.partition(".")
    weight = weights.get(rest if first == "model" else rest.partition(".")[2])
    if weight is not None and weight.shape == entry.size:
        return torch.zeros_like(weight)
    return torch.zeros(entry.size, dtype=entry.properties.dtype)
