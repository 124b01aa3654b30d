"""Which items a training step sees: epochs in a fresh order each, as a function of the step.
And how many questions are asked at once: as many as memory holds.
"""

import functools
from collections.abc import Callable, Sequence
from typing import TypeVar

import torch

from dualipo import seeds
from dualipo.training import memory

Asked = TypeVar("Asked")
Answer = TypeVar("Answer")


def shuffled(num_items: int, *, batch_size: int, seed: int) -> Callable[[int], list[int]]:
    """Step -> indices; an epoch's rest is filled from the next epoch."""
    assert num_items > 0

    @functools.lru_cache(maxsize=2)
    def order(epoch: int) -> list[int]:
        generator = torch.Generator().manual_seed(seeds.derive(seed, "epoch", epoch))
        return torch.randperm(num_items, generator=generator).tolist()

    def batch(step: int) -> list[int]:
        places = range(step * batch_size, (step + 1) * batch_size)
        return [order(place // num_items)[place % num_items] for place in places]

    return batch


def mixed(
    num_items: int, num_anchors: int, *, share: float, batch_size: int, seed: int
) -> Callable[[int], list[int]]:
    """Batches in which `share` of the places hold anchors, numbered behind the items."""
    from_anchors = min(round(share * batch_size), batch_size - 1) if num_anchors else 0
    items = shuffled(num_items, batch_size=batch_size - from_anchors, seed=seed)
    if not from_anchors:
        return items
    anchors = shuffled(num_anchors, batch_size=from_anchors, seed=seeds.derive(seed, "anchors"))
    return lambda step: items(step) + [num_items + index for index in anchors(step)]


def within_memory(
    asked: Sequence[Asked],
    ask: Callable[[Sequence[Asked]], list[Answer]],
    *,
    batch_size: int,
    subject: str,
) -> list[Answer]:
    """One answer to each of `asked`, `batch_size` at once; fewer after running out of memory.

    A batch size that suits votes, which share their prompts, may be too many different prompts.
    """
    answers: list[Answer] = []
    num_parts = 1
    for start in range(0, len(asked), batch_size):
        batch = asked[start : start + batch_size]
        made, num_parts = memory.within_memory(
            functools.partial(_in_parts, batch, ask),
            num_parts=min(num_parts, len(batch)),
            num_items=len(batch),
            subject=subject,
        )
        answers += made
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
