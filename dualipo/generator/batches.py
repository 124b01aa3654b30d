"""What an alignment trains on, and which of it a step uses: a pure function of the step.

Latents are any sequence that is indexed by item, a tensor or a view on files, because a real
round's 100,000 pairs do not fit in memory. Real clips are a stream of their own, with its own
period and noise.

Shapes: B batch, L tokens, D features; a latent's own axes are written `...`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from dualipo import seeds
from dualipo.errors import DataError


@dataclass(frozen=True)
class PreferenceSet:
    """The round's pairs: `winners[k]` and `losers[k]` are latents of caption `caption_keys[k]`."""

    pair_ids: Sequence[str]
    caption_keys: Sequence[str]
    winners: Sequence[Tensor] | Tensor
    losers: Sequence[Tensor] | Tensor
    texts: Mapping[str, Tensor]

    def __post_init__(self) -> None:
        lengths = {len(self.caption_keys), len(self.winners), len(self.losers)}
        assert lengths == {len(self.pair_ids)}, "one caption, winner and loser a pair"
        if not self.pair_ids:
            raise DataError(
                "alignment: no preference pair was kept. Sample more prompts, or lower "
                "critic.margin_percentile or critic.keep_vote_share."
            )
        if len(set(self.pair_ids)) < len(self.pair_ids):
            raise DataError("alignment: a pair id occurs twice. Remove the duplicates.")

    def stack(self, side: Literal["winners", "losers"], pairs: Sequence[int]) -> Tensor:
        """Latents of one side, [B, ...]."""
        latents = getattr(self, side)
        return torch.stack([latents[pair] for pair in pairs])

    def stack_texts(self, pairs: Sequence[int]) -> Tensor:
        """text_BLD of the pairs' captions."""
        return torch.stack([self.texts[self.caption_keys[pair]] for pair in pairs])


@dataclass(frozen=True)
class RealClips:
    """Latents of real clips, each with its caption's text embedding."""

    latents: Sequence[Tensor] | Tensor
    texts: Sequence[Tensor] | Tensor

    def __post_init__(self) -> None:
        assert len(self.latents) == len(self.texts), "one text a clip"


def cycle(step: int, *, num_items: int, batch_size: int, seed: int) -> list[tuple[int, int]]:
    """The step's (item, epoch) places in an endless shuffled stream; each epoch has each once."""
    first = step * batch_size
    places = range(first, first + batch_size)
    orders = {epoch: _order(num_items, seed, epoch) for epoch in {p // num_items for p in places}}
    return [(orders[p // num_items][p % num_items], p // num_items) for p in places]


def pair_places(
    step: int, *, num_pairs: int, num_slots: int, batch_size: int, seed: int
) -> list[tuple[int, int]]:
    """The step's (pair, slot) places: a pair uses its slots in turn, epoch after epoch."""
    stream = cycle(step, num_items=num_pairs, batch_size=batch_size, seed=seed)
    return [(pair, (pair + epoch) % num_slots) for pair, epoch in stream]


def _order(num_items: int, seed: int, epoch: int) -> list[int]:
    generator = torch.Generator().manual_seed(seeds.derive(seed, "order", epoch))
    return torch.randperm(num_items, generator=generator).tolist()
