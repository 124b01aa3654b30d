"""Preflight checks of room: the disk against the estimate, the memory against what is certain.

The memory of an alignment is certain for weights, gradients and the optimizer's state; activations
are not counted, as a batch that does not fit is halved (fault 26).
"""

import os
from collections.abc import Iterator

import torch

from dualipo.amounts import storage
from dualipo.config import Config
from dualipo.errors import DualipoError, StorageError
from dualipo.rounds import estimating
from dualipo.rounds.ahead import Ahead
from dualipo.rounds.estimating import Estimate

_CERTAIN = ("weights", "gradients", "optimizer")


def disk(config: Config, state: Ahead) -> Iterator[DualipoError]:
    """Check that the disk has room for what is still to be made."""
    rest = config.model_copy(update={"rounds": state.num_rounds_to_run})
    if (needs := _estimate(rest)) is None:
        return
    needed, free = sum(needs.disk.values()), estimating.free_bytes(config)
    if needed > free:
        largest = max(needs.disk, key=needs.disk.__getitem__)
        is_lossy = config.generator.clip_qp > 0
        smaller = "raise generator.clip_qp" if is_lossy else "set generator.clip_qp = 12"
        yield StorageError(
            f"{config.output_dir}: the run needs {storage(needed)} of disk, of which "
            f"{largest} {storage(needs.disk[largest])}, and only {storage(free)} are free here. "
            f"Free some space, choose another output_dir, ask for fewer prompts, or {smaller}; "
            "`--force-disk` begins in any case."
        )


def memory(config: Config, state: Ahead) -> Iterator[DualipoError]:
    """Check that the device holds the generator, and what training it keeps."""
    if (needs := _estimate(config)) is None:
        return
    held, name = _device_bytes()
    aligning = sum(needs.aligning_memory[part] for part in _CERTAIN)
    batch = needs.footprint.block_bytes * config.generator.sample_batch_size
    if (sampling := sum(needs.sampling_memory.values()) - batch) > held:
        yield StorageError(
            f"{name}: the generator's weights need {storage(sampling)} of its memory, and it has "
            f'{storage(held)}. Set generator.torch_dtype = "bfloat16", or use a smaller generator.'
        )
    if config.rounds and state.num_rounds_to_run and aligning > held:
        yield StorageError(
            f"{name}: the alignment needs {storage(aligning)} of its memory for weights, gradients "
            f"and optimizer, and it has {storage(held)}. Set align.rank to train a LoRA, or "
            "align.num_processes to share the weights among devices."
        )


def _estimate(config: Config) -> Estimate | None:
    """Return the estimate; None where the model cannot be read, which another check tells."""
    try:
        return estimating.estimate(config)
    except DualipoError:
        return None


def _device_bytes() -> tuple[float, str]:
    """Return the memory of the device that models run on, and its name."""
    if torch.cuda.is_available():
        return torch.cuda.get_device_properties(0).total_memory, torch.cuda.get_device_name()
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"), "this machine"
