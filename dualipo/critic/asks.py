"""Items to judge, and the single questions about them.

An `Item` names its clips by their hashes; an `Ask` is one question about it, on one dimension and
in one order. Pixels are loaded only when a batch is made.
"""

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from dualipo.config import WORLD
from dualipo.critic.vlm import Kind, Query
from dualipo.records import DIMENSIONS, Dimension, Order

# The dimensions of the embedded world that a caption should not matter to.
CAPTIONLESS = WORLD.captionless()

Clips = Callable[[str], np.ndarray]  # a clip's hash -> uint8 [F, H, W, 3]
SeedOf = Callable[[str, Dimension, Order, int, int], int]  # item, dimension, order, draw, re-ask


@dataclass(frozen=True)
class Item:
    """The clips of one caption to judge: one (pointwise), or A and B (pairwise)."""

    item_id: str
    caption: str
    clip_hashes: tuple[str, ...]
    dimensions: tuple[Dimension, ...] = DIMENSIONS


@dataclass(frozen=True)
class Ask:
    """A question about an item; `clip_hashes` stand in the order in which they are shown."""

    item_id: str
    kind: Kind
    caption: str
    dimension: Dimension
    clip_hashes: tuple[str, ...]
    order: Order = "ab"

    def query(self, clips: Clips) -> Query:
        """Load the clips' pixels and return the question with them."""
        shown = tuple(clips(clip_hash) for clip_hash in self.clip_hashes)
        return Query(self.kind, self.caption, self.dimension, shown, self.clip_hashes)

    def swapped(self) -> "Ask":
        """Return the same question with the two clips shown in the other order."""
        assert self.kind == "pair"
        order: Order = "ba" if self.order == "ab" else "ab"
        return replace(self, clip_hashes=self.clip_hashes[::-1], order=order)


def asks_about(items: Sequence[Item]) -> list[Ask]:
    """List the questions about the items: every dimension, and pairs in both orders.

    Questions about the same clips in the same order stand together, because their prompts begin
    alike and are then decoded from one prefill.
    """
    asks = []
    for item in items:
        kind: Kind = "pair" if len(item.clip_hashes) == 2 else "point"
        as_given = [
            Ask(item.item_id, kind, item.caption, dimension, item.clip_hashes)
            for dimension in item.dimensions
        ]
        asks += as_given
        if kind == "pair":
            asks += [ask.swapped() for ask in as_given]
    return asks


def load_queries(asks: Sequence[Ask], clips: Clips) -> list[Query]:
    """Return the questions with their pixels; every clip is loaded once."""
    load_once = functools.cache(clips)
    return [ask.query(load_once) for ask in asks]
