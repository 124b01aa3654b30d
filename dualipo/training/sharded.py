"""Checkpoints of several ranks: PyTorch's distributed format (DCP), with a manifest of hashes.

    save   rank 0 makes a temporary folder and tells the others its name
           every rank writes its own shards into it
           rank 0 adds the plain values and the hashes of all files, and renames the folder
           all ranks wait until it has its name
    load   rank 0 finds the newest checkpoint whose hashes agree, and puts damaged ones aside
           every rank reads its shards of that one

The hashes are ours, for DCP itself loads a flipped bit silently (faults 12 to 14); finding, putting
aside and purging are `store/checkpoint.py`'s. Rank 0's failure to find a checkpoint reaches all
ranks, so that none waits for the others. Any number of ranks loads what any other number saved, one
process included, and goes on with the same batches (fault 46); only sums round differently.
"""

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
import torch.distributed.checkpoint as dcp
from torch import Tensor
from torch.distributed.checkpoint.api import CheckpointException

from dualipo.errors import CheckpointError
from dualipo.store import atomic, checkpoint, stored
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
    """Publish `folder/step-...` and purge all but the newest `total_limit`; every rank calls it."""
    path = folder / f"step-{step:06d}"
    with _published(path) as temporary:
        with atomic.storage_errors(path):  # on every rank, as each writes its own part
            _write(tensors, temporary)
        if ranks.rank() == 0:
            checkpoint.seal(temporary, state)
    if ranks.rank() == 0:
        checkpoint.purge(folder, keep=total_limit)


def _write(tensors: Mapping[str, Tensor], folder: Path) -> None:
    try:
        dcp.save(dict(tensors), checkpoint_id=folder)
    except CheckpointException as failure:  # no Exception, so that no handler of errors sees it
        raise RuntimeError(str(failure)) from failure


def load_latest(folder: Path, *, weights: Mapping[str, Tensor]) -> Checkpoint | None:
    """Return the newest checkpoint whose hashes agree; None where none was ever saved.

    Every rank calls it. A tensor that belongs to one of `weights` is sharded as that is.
    """
    path = _newest(folder)
    if path is None:
        return None
    if not checkpoint.is_whole(path):
        return checkpoint.read(path, _read_shards(path, weights))
    if ranks.num_ranks() == 1:
        return checkpoint.load(path)
    return checkpoint.read(path, _read_parts(path, weights))


def _read_shards(path: Path, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Read what several ranks saved; DCP finds the parts, however many there were."""
    entries: dict[str, Any] = dcp.FileSystemReader(path).read_metadata().state_dict_metadata
    tensors = {}
    for key, entry in entries.items():
        weight = _weight_of(key, weights)
        if weight is not None and weight.shape == entry.size:
            tensors[key] = torch.zeros_like(weight, dtype=entry.properties.dtype)
        else:
            tensors[key] = torch.zeros(entry.size, dtype=entry.properties.dtype)
    dcp.load(tensors, checkpoint_id=path, no_dist=ranks.num_ranks() == 1)
    return tensors


def _read_parts(path: Path, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Read this rank's parts of what one process saved, a tensor at a time."""
    file = str(path / checkpoint.TENSORS)
    return {
        key: ranks.part_like(stored.read((file, key)), _weight_of(key, weights))
        for key in stored.names(file)
    }


def _newest(folder: Path) -> Path | None:
    """Return what the first rank found, or raise its error, on every rank."""
    path: Path | None = None
    error: str | None = None
    if ranks.rank() == 0:
        try:
            path = checkpoint.newest(folder)
        except CheckpointError as fault:
            error = str(fault)
    path, error = ranks.from_first((path, error))
    if error is not None:
        raise CheckpointError(error)
    return path


@contextlib.contextmanager
def _published(path: Path) -> Iterator[Path]:
    """Yield the first rank's temporary folder on every rank; it becomes `path` at the end."""
    with contextlib.ExitStack() as stack:
        temporary = None
        if ranks.rank() == 0:
            temporary = stack.enter_context(atomic.publish_folder(path, name="checkpoint"))
        name = ranks.from_first(temporary)
        assert name is not None, "the first rank has made it"
        yield name
    ranks.wait()


def _weight_of(key: str, weights: Mapping[str, Tensor]) -> Tensor | None:
    """Return the weight that a saved tensor belongs to, if it is one of these.

    The key is `model.NAME`, `best.NAME` or `optimizer.MOMENT.NAME`.
    """
    first, _, rest = key.partition(".")
    return weights.get(rest if first in ("model", "best") else rest.partition(".")[2])
