"""The batches that the critic learns from: its own items, with a share of human anchors."""

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
    num_items: int, num_anchors: int, *, share: float, batch_size: int, seed: int
) -> Callable[[int], list[int]]:
    """Return batches like `shuffled`'s in which `share` of the places hold anchors.

    Anchors are numbered behind the items. At least one place of a batch stays an item's.
    """
    num_anchor_places = min(round(share * batch_size), batch_size - 1) if num_anchors else 0
    items = shuffled(num_items, batch_size=batch_size - num_anchor_places, seed=seed)
    if not num_anchor_places:
        return items
    anchors = shuffled(
        num_anchors, batch_size=num_anchor_places, seed=seeds.derive(seed, "anchors")
    )
    return lambda step: items(step) + [num_items + index for index in anchors(step)]
