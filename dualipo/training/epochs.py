"""The endless shuffled stream of items from which a training takes its batches.

An epoch holds every item once, in an order that is a function of the seed and the epoch's number.
A step's batch is therefore a function of the step alone, and a resumed training needs no state of
its data. A batch may begin in one epoch and end in the next.
"""

import functools

import torch

from dualipo import seeds


def places(
    step: int, *, num_items: int, batch_size: int, seed: int, stream: str
) -> list[tuple[int, int]]:
    """Return the (item, epoch) places of a step's batch.

    `stream` is the word in the seed that tells one kind of training's order from another's.
    """
    assert num_items > 0
    first = step * batch_size
    return [
        (_order(num_items, seed, stream, place // num_items)[place % num_items], place // num_items)
        for place in range(first, first + batch_size)
    ]


# A batch lies in few epochs; a critic's refresh has two streams, and so has an alignment.
@functools.lru_cache(maxsize=4)
def _order(num_items: int, seed: int, stream: str, epoch: int) -> tuple[int, ...]:
    generator = torch.Generator().manual_seed(seeds.derive(seed, stream, epoch))
    return tuple(torch.randperm(num_items, generator=generator).tolist())
