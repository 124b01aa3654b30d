"""As much at once as the device's memory holds (fault 26): micro batches halve, batches do not."""

import logging
from collections.abc import Callable
from typing import TypeVar

import torch

from dualipo.errors import StageError
from dualipo.training import ranks

logger = logging.getLogger(__name__)

T = TypeVar("T")


def within_memory(
    attempt: Callable[[int], T], *, num_parts: int, num_items: int, subject: str
) -> tuple[T, int]:
    """Call `attempt` with the number of parts to do its items in, and with twice as many after
    each out-of-memory error; return what it gave, and the number that fitted."""
    while True:
        try:
            return attempt(num_parts), num_parts
        except torch.OutOfMemoryError as full:
            if ranks.num_ranks() > 1:
                # The other ranks wait in the middle of a pass: this one cannot begin it again.
                raise StageError(
                    f"{subject}: out of memory on rank {ranks.rank()} ({full}). Raise "
                    "gradient_accumulation_steps: several processes need the same parts."
                ) from full
            if num_parts >= num_items:
                raise StageError(
                    f"{subject}: one item at a time is more than the device's memory ({full}). "
                    "Set gradient_checkpointing=true or a lower rank where there is one, make "
                    "clips smaller, or take a larger device."
                ) from full
        # The error is gone by now, and with it what the failed attempt had allocated.
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        num_parts = min(2 * num_parts, num_items)
        logger.warning("%s: out of memory; the same batch in %d parts now.", subject, num_parts)
