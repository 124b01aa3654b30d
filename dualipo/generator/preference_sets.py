"""What an alignment trains on, and which of it a step uses: a pure function of the step.

Pairs (Diffusion-DPO) have two sides under one caption, points (Diffusion-KTO) one side and a label.

Latents are any sequence that is indexed by item, a tensor or a view on files, because a real
round's 100,000 pairs do not fit in memory. Real clips are a stream of their own, with its own
period and noise.

Shapes: B batch, L tokens, D features; a latent's own axes are written `...`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Protocol

import torch
from torch import Tensor

from dualipo.errors import DataError
from dualipo.training import epochs


class Preferences(Protocol):
    """What both kinds offer: items by id, whose sides share a caption and a slot's noise."""

    sides: ClassVar[tuple[str, ...]]

    @property
    def ids(self) -> Sequence[str]:
        """One for each item."""
        ...

    def stack(self, side: str, items: Sequence[int]) -> Tensor:
        """Latents of one side, [B, ...]."""
        ...

    def stack_texts(self, items: Sequence[int]) -> Tensor:
        """text_BLD of the items' captions."""
        ...

    def signs(self, items: Sequence[int]) -> Tensor | None:
        """+1 for a desirable item, -1 for an undesirable one; none where sides say it."""
        ...

    @property
    def certainties(self) -> Sequence[float] | None:
        """How sure the critic was of each item; none where nobody said."""
        ...


@dataclass(frozen=True)
class PreferenceSet:
    """The round's pairs: `winners[k]` and `losers[k]` are latents of caption `caption_keys[k]`."""

    sides: ClassVar[tuple[str, ...]] = ("winners", "losers")

    pair_ids: Sequence[str]
    caption_keys: Sequence[str]
    winners: Sequence[Tensor] | Tensor
    losers: Sequence[Tensor] | Tensor
    texts: Mapping[str, Tensor]
    certainties: Sequence[float] | None = None

    def __post_init__(self) -> None:
        lengths = {len(self.caption_keys), len(self.winners), len(self.losers)}
        assert lengths == {len(self.pair_ids)}, "one caption, winner and loser a pair"
        if not self.pair_ids:
            raise DataError(
                "alignment: no preference pair was kept. Sample more prompts, or lower "
                "critic.margin_percentile or critic.confirm_vote_share."
            )
        if len(set(self.pair_ids)) < len(self.pair_ids):
            raise DataError("alignment: a pair id occurs twice. Remove the duplicates.")

    @property
    def ids(self) -> Sequence[str]:
        return self.pair_ids

    def stack(self, side: str, items: Sequence[int]) -> Tensor:
        latents = {"winners": self.winners, "losers": self.losers}[side]
        return torch.stack([latents[item] for item in items]).float()

    def stack_texts(self, items: Sequence[int]) -> Tensor:
        return torch.stack([self.texts[self.caption_keys[item]] for item in items])

    def signs(self, items: Sequence[int]) -> None:
        return None


@dataclass(frozen=True)
class PointSet:
    """The round's labelled clips: `desirable[k]` says which `clips[k]` is."""

    sides: ClassVar[tuple[str, ...]] = ("clips",)

    point_ids: Sequence[str]
    caption_keys: Sequence[str]
    clips: Sequence[Tensor] | Tensor
    desirable: Sequence[bool]
    texts: Mapping[str, Tensor]
    certainties: Sequence[float] | None = None

    def __post_init__(self) -> None:
        lengths = {len(self.caption_keys), len(self.clips), len(self.desirable)}
        assert lengths == {len(self.point_ids)}, "one caption, clip and label a point"
        num_desirable = sum(self.desirable)
        if num_desirable in (0, len(self.desirable)):
            raise DataError(
                f"alignment: {num_desirable} desirable and {len(self.desirable) - num_desirable} "
                "undesirable clips, where KTO needs both. Sample more prompts, or set "
                'align.kto_labels = "extremes", which labels the best and the worst of a prompt.'
            )
        if len(set(self.point_ids)) < len(self.point_ids):
            raise DataError("alignment: a point id occurs twice. Remove the duplicates.")

    @property
    def ids(self) -> Sequence[str]:
        return self.point_ids

    def stack(self, side: str, items: Sequence[int]) -> Tensor:
        assert side == "clips", side
        return torch.stack([self.clips[item] for item in items]).float()

    def stack_texts(self, items: Sequence[int]) -> Tensor:
        return torch.stack([self.texts[self.caption_keys[item]] for item in items])

    def signs(self, items: Sequence[int]) -> Tensor:
        return torch.tensor([1.0 if self.desirable[item] else -1.0 for item in items])


@dataclass(frozen=True)
class RealClips:
    """Latents of real clips, each with its caption's text embedding."""

    latents: Sequence[Tensor] | Tensor
    texts: Sequence[Tensor] | Tensor

    def __post_init__(self) -> None:
        assert len(self.latents) == len(self.texts), "one text a clip"


def certainty_weights(preferences: Preferences) -> Tensor:
    """One weight an item, its certainty over the mean: the loss keeps its scale."""
    if preferences.certainties is None:
        raise DataError(
            "alignment: no certainties beside the preferences. Set align.certainty_weights=false."
        )
    certainties_P = torch.tensor(preferences.certainties)
    return certainties_P / certainties_P.mean()


def slot_places(
    step: int, *, num_items: int, num_slots: int, batch_size: int, seed: int
) -> list[tuple[int, int]]:
    """The step's (item, slot) places: an item uses its slots in turn, epoch after epoch."""
    stream = epochs.places(
        step, num_items=num_items, batch_size=batch_size, seed=seed, stream="order"
    )
    return [(item, (item + epoch) % num_slots) for item, epoch in stream]
