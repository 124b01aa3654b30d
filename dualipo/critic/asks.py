"""What is to be judged, and the single questions that this makes.

An item names clips by their ids, an ask is one question about it; pixels are loaded only when a
batch is made.
"""

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from dualipo.critic.vlm import Kind, Query
from dualipo.records import DIMENSIONS, Dimension, Order, Verdict

Clips = Callable[[str], np.ndarray]  # clip id -> uint8 [F, H, W, 3]
SeedOf = Callable[[str, Dimension, Order, int, int], int]  # item, dimension, order, draw, ask


@dataclass(frozen=True)
class Item:
    """One clip (pointwise) or two, A then B (pairwise), of one caption."""

    item_id: str
    caption: str
    clip_hashes: tuple[str, ...]
    dimensions: tuple[Dimension, ...] = DIMENSIONS


@dataclass(frozen=True)
class Ask:
    """One question; `clip_hashes` stand in the order in which they are shown."""

    item_id: str
    kind: Kind
    caption: str
    dimension: Dimension
    clip_hashes: tuple[str, ...]
    order: Order = "ab"
    hint: Verdict | None = None

    def query(self, clips: Clips) -> Query:
        """The question with its pixels."""
        shown = tuple(clips(clip_hash) for clip_hash in self.clip_hashes)
        return Query(
            self.kind, self.caption, self.dimension, shown, self.clip_hashes, hint=self.hint
        )

    def swapped(self) -> "Ask":
        """The same pair shown in the other order."""
        assert self.kind == "pair"
        order: Order = "ba" if self.order == "ab" else "ab"
        return replace(self, clip_hashes=self.clip_hashes[::-1], order=order)


def asks_about(items: Sequence[Item], *, both_orders: bool = True) -> list[Ask]:
    """Item by item, a pair in both orders, dimension by dimension: shared beginnings together."""
    made = []
    for item in items:
        kind: Kind = "pair" if len(item.clip_hashes) == 2 else "point"
        shown = [
            Ask(item.item_id, kind, item.caption, d, item.clip_hashes) for d in item.dimensions
        ]
        made += shown
        if kind == "pair" and both_orders:
            made += [ask.swapped() for ask in shown]
    return made


def load_queries(some: Sequence[Ask], clips: Clips) -> list[Query]:
    """Load a batch: every clip once."""
    once = functools.cache(clips)
    return [ask.query(once) for ask in some]
