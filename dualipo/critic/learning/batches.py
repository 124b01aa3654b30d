"""Which items a training step sees: epochs in a fresh order each, as a function of the step."""

import functools
from collections.abc import Callable

import torch

from dualipo import seeds


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
