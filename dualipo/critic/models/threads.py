"""One thread for a small model's inference on the CPU.

Its operations are so short that handing half of one to another thread, and waiting for it, costs
more than it saves; `benchmarks/threads.py` measures how much. Training has longer operations and
keeps the number of threads that torch was given.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

SMALL = 20_000_000  # parameters


@contextmanager
def few_for(module: nn.Module) -> Iterator[None]:
    """Use one thread inside this context if the module is small and on the CPU."""
    weights = list(module.parameters())
    is_small = sum(weight.numel() for weight in weights) < SMALL
    before = torch.get_num_threads()
    if is_small and weights[0].device.type == "cpu":
        torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
