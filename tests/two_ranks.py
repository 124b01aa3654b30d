"""Two gloo processes on this machine, forked so as not to import torch again."""

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import torch
import torch.distributed as dist
import torch.multiprocessing as mp

PATIENCE = timedelta(seconds=100)  # with a peer that is gone; torch's own is half an hour


def act_in_two(act: Callable[[int], object], folder: Path) -> None:
    """Call `act` with its rank in each of two processes; raise what one of them raised."""
    mp.start_processes(_act, (folder / "store", act), nprocs=2, start_method="fork")


def _act(rank: int, store: Path, act: Callable[[int], object]) -> None:
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo", init_method=f"file://{store}", rank=rank, world_size=2, timeout=PATIENCE
    )
    act(rank)
    dist.destroy_process_group()
