"""The batches that the critic learns from: its own items, with a share of human anchors."""

import itertools
from collections.abc import Callable

from dualipo import seeds
from dualipo.training import epochs


def shuffled(num_items: int, *, batch_size: int, seed: int) -> Callable[[int], list[int]]:
    """Return a function from a step to the indices of its items."""

    def batch(step: int) -> list[int]:
        places = epochs.places(
            step, num_items=num_items, batch_size=batch_size, seed=seed, stream="epoch"
        )
        return [item for item, _ in places]

    return batch


def mixed(
    num_items: int,
    num_anchors: int,
    *,
    shares: tuple[float, float],
    num_steps: int,
    batch_size: int,
    seed: int,
) -> Callable[[int], list[int]]:
    """Return batches like `shuffled`'s of which a share are anchors, numbered behind the items.

    The share goes evenly from the first of `shares` at the first step to the second at the last.
    """
    if not num_anchors or shares == (0, 0):
        return shuffled(num_items, batch_size=batch_size, seed=seed)
    first, last = shares
    nums = [
        round(batch_size * (first + (last - first) * step / max(1, num_steps - 1)))
        for step in range(num_steps)
    ]
    starts = [0, *itertools.accumulate(nums)]
    item = shuffled(num_items, batch_size=1, seed=seed)
    anchor = shuffled(num_anchors, batch_size=1, seed=seeds.derive(seed, "anchors"))

    def batch(step: int) -> list[int]:
        begin, end = starts[step], starts[step + 1]
        items = range(step * batch_size - begin, (step + 1) * batch_size - end)
        own = [index for place in items for index in item(place)]
        return own + [num_items + index for place in range(begin, end) for index in anchor(place)]

    return batch
