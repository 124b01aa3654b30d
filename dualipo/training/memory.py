"""Work in parts that fit into memory: micro batches halve, batches never do (fault 26)."""

import functools
import logging
from collections.abc import Callable, Sequence
from typing import TypeVar

import torch

from dualipo.errors import StageError
from dualipo.training import ranks

logger = logging.getLogger(__name__)

T = TypeVar("T")
Asked = TypeVar("Asked")
Answer = TypeVar("Answer")


def within_memory(
    attempt: Callable[[int], T], *, num_parts: int, num_items: int, subject: str
) -> tuple[T, int]:
    """Call `attempt` with a number of parts, doubled after each out-of-memory error.

    `attempt` does its `num_items` in so many parts. Return its result, and the number that fitted.
    """
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


def batched(
    asked: Sequence[Asked],
    ask: Callable[[Sequence[Asked]], list[Answer]],
    *,
    batch_size: int,
    subject: str,
) -> list[Answer]:
    """Answer each of `asked`, `batch_size` at once, and fewer after running out of memory.

    A batch size that suits votes, which share their prompts, may be too many different prompts.
    """
    answers: list[Answer] = []
    num_parts = 1
    for start in range(0, len(asked), batch_size):
        batch = asked[start : start + batch_size]
        batch_answers, num_parts = within_memory(
            functools.partial(_in_parts, batch, ask),
            num_parts=min(num_parts, len(batch)),
            num_items=len(batch),
            subject=subject,
        )
        answers += batch_answers
    return answers


def _in_parts(
    batch: Sequence[Asked], ask: Callable[[Sequence[Asked]], list[Answer]], num_parts: int
) -> list[Answer]:
    size = -(-len(batch) // num_parts)
    return [
        answer
        for start in range(0, len(batch), size)
        for answer in ask(batch[start : start + size])
    ]
