"""A key-value cache with spare columns, so that a decoding step writes its own column alone.

transformers' DynamicCache concatenates: every step copies all that was there before, which costs
about as much as attention itself where many short questions are decoded side by side.
"""

from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache, PreTrainedConfig
from transformers.cache_utils import DynamicLayer

from dualipo.training.precision import attended

SPARE = 16  # a full layer grows by a sixteenth of its columns: little memory, and few copies


def growing_cache(config: PreTrainedConfig) -> DynamicCache:
    """Return an empty cache for a language model; layers that slide stay the library's."""
    cache = DynamicCache(config=config)
    cache.layers = [
        GrowingLayer() if type(layer) is DynamicLayer else layer for layer in cache.layers
    ]
    return cache


class GrowingLayer(DynamicLayer):
    """A layer of the cache; `keys` and `values` [B, heads, K, D] show its filled columns."""

    def lazy_initialization(self, key_states: Tensor, value_states: Tensor) -> None:
        """Begin without columns."""
        super().lazy_initialization(key_states, value_states)
        self.keys, self.values = key_states[:, :, :0], value_states[:, :, :0]
        self._room = [self.keys, self.values]  # the filled columns and the spare ones

    def update(
        self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any
    ) -> tuple[Tensor, Tensor]:
        """Write the new columns behind those that are there, and return all of them."""
        key_states = attended(key_states)  # rotary embeddings leave them in float32
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        begin = self.keys.shape[2]
        end = begin + key_states.shape[2]
        if end > self._room[0].shape[2]:
            self._room = [_enlarged(old, end) for old in (self.keys, self.values)]
        for room, new in zip(self._room, (key_states, value_states), strict=True):
            room[:, :, begin:end] = new
        self._show(end)
        return self.keys, self.values

    def batch_select_indices(self, indices: Tensor) -> None:
        """Keep these rows, in this order; a row that stays in its place is not copied."""
        if not self.is_initialized:  # a layer that has no keys of its own
            return
        num, end = len(indices), self.keys.shape[2]
        moved = (indices != torch.arange(num, device=indices.device)).nonzero()[:, 0]
        for room in self._room:
            room[moved, :, :end] = room[indices[moved], :, :end]
        self._room = [room[:num] for room in self._room]
        self._show(end)

    def _show(self, end: int) -> None:
        self.keys, self.values = (room[:, :, :end] for room in self._room)


def _enlarged(old: Tensor, end: int) -> Tensor:
    """Copy the filled columns into a tensor with room for `end` columns and a share more."""
    rows, heads, filled, width = old.shape
    spare = filled // SPARE  # none at the first filling, whose length nothing foretells
    room = old.new_empty(rows, heads, end + spare, width)
    room[:, :, :filled] = old
    return room
