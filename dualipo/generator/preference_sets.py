"""The preferences and real clips of an alignment, and which of them a step uses.

Pairs (Diffusion-DPO) have two sides under one caption, points (Diffusion-KTO) one side and a label.
Which items a step uses is a pure function of the step's number and the seed.

Latents are any sequence that is indexed by item, a tensor or a view on files, because a real
round's 100,000 pairs do not fit in memory. A set whose tensors are in files can be handed to
another process as places, without copying a tensor. Real clips are a stream of their own, with its
own period and noise.

Shapes: B batch, L tokens, D features; a latent's own axes are written `...`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, ClassVar, Self

import torch
from torch import Tensor

from dualipo.errors import DataError
from dualipo.store.stored import StoredList, StoredTable
from dualipo.training import epochs


@dataclass(frozen=True, kw_only=True)
class Preferences:
    """Items to learn from: each has an id, a caption, and a latent on every side.

    The sides of an item share its caption and its slots' noise. `caption_keys[k]` is where
    `texts` has item k's text embedding; `certainties[k]` says how sure the critic was of it.
    """

    sides: ClassVar[tuple[str, ...]]

    ids: Sequence[str]
    caption_keys: Sequence[str]
    texts: Mapping[str, Tensor]
    certainties: Sequence[float] | None = None

    def __post_init__(self) -> None:
        lengths = {len(self.caption_keys), *(len(self.latents(side)) for side in self.sides)}
        assert lengths == {len(self.ids)}, "one caption and one latent a side for each item"
        if len(set(self.ids)) < len(self.ids):
            raise DataError("alignment: a preference's id occurs twice. Remove the duplicates.")

    def latents(self, side: str) -> Sequence[Tensor] | Tensor:
        """Return the latents of one side, item by item."""
        assert side in self.sides, side
        latents: Sequence[Tensor] | Tensor = getattr(self, side)
        return latents

    def stack(self, side: str, items: Sequence[int]) -> Tensor:
        """Read the items' latents of one side: float32 [B, ...]."""
        latents = self.latents(side)
        return torch.stack([latents[item] for item in items]).float()

    def stack_texts(self, items: Sequence[int]) -> Tensor:
        """Read the text embeddings of the items' captions: text_BLD."""
        return torch.stack([self.texts[self.caption_keys[item]] for item in items])

    def signs(self, items: Sequence[int]) -> Tensor | None:
        """Return +1 for a desirable item and -1 for an undesirable one; None where sides tell."""
        return None

    def subset(self, items: Sequence[int]) -> Self:
        """Return the set of these items alone, in this order; the texts stay whole."""
        by_item = {field.name: getattr(self, field.name) for field in fields(self)}
        del by_item["texts"]
        chosen = {
            name: _pick(values, items) for name, values in by_item.items() if values is not None
        }
        return replace(self, **chosen)

    def as_places(self) -> dict[str, Any]:
        """Return the set as JSON values, with the places of its tensors instead of tensors."""
        return {field.name: _as_place(getattr(self, field.name)) for field in fields(self)}

    @classmethod
    def from_places(cls, values: Mapping[str, Any]) -> Self:
        """Build the set that `as_places` described; its tensors are read when they are used."""
        stored = {side: StoredList(values[side]) for side in cls.sides}
        return cls(**{**values, **stored, "texts": StoredTable(values["texts"])})


@dataclass(frozen=True, kw_only=True)
class PreferenceSet(Preferences):
    """The pairs of a round: under caption k, `winners[k]` was preferred to `losers[k]`."""

    sides: ClassVar[tuple[str, ...]] = ("winners", "losers")

    winners: Sequence[Tensor] | Tensor
    losers: Sequence[Tensor] | Tensor

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.ids:
            raise DataError(
                "alignment: no preference pair was kept. Sample more prompts, or lower "
                "critic.margin_percentile or critic.confirm_vote_share."
            )


@dataclass(frozen=True, kw_only=True)
class PointSet(Preferences):
    """The labelled clips of a round: `desirable[k]` is the label of `clips[k]`."""

    sides: ClassVar[tuple[str, ...]] = ("clips",)

    clips: Sequence[Tensor] | Tensor
    desirable: Sequence[bool]

    def __post_init__(self) -> None:
        super().__post_init__()
        assert len(self.desirable) == len(self.ids), "one label for each clip"
        num_desirable = sum(self.desirable)
        if num_desirable in (0, len(self.desirable)):
            raise DataError(
                f"alignment: {num_desirable} desirable and {len(self.desirable) - num_desirable} "
                "undesirable clips, where KTO needs both. Sample more prompts, or set "
                'align.kto_labels = "extremes", which labels the best and the worst of a prompt.'
            )

    def signs(self, items: Sequence[int]) -> Tensor:
        """Return +1 for a desirable clip and -1 for an undesirable one."""
        return torch.tensor([1.0 if self.desirable[item] else -1.0 for item in items])


# The preferences that each `align.loss_type` trains on.
SETS: dict[str, type[Preferences]] = {"dpo": PreferenceSet, "kto": PointSet}


@dataclass(frozen=True)
class RealClips:
    """Latents of real clips, each with its caption's text embedding."""

    latents: Sequence[Tensor] | Tensor
    texts: Sequence[Tensor] | Tensor

    def __post_init__(self) -> None:
        assert len(self.latents) == len(self.texts), "one text for each clip"

    def as_places(self) -> dict[str, Any]:
        """Return the clips as JSON values: the places of latents and texts."""
        return {"latents": _as_place(self.latents), "texts": _as_place(self.texts)}

    @classmethod
    def from_places(cls, values: Mapping[str, Any]) -> Self:
        """Build the clips that `as_places` described."""
        return cls(StoredList(values["latents"]), StoredList(values["texts"]))


def _pick(values: Any, items: Sequence[int]) -> Any:
    """Return these items of a sequence; stored tensors are not read."""
    if isinstance(values, StoredList):
        return StoredList([values.places[item] for item in items])
    if isinstance(values, Tensor):
        return values[list(items)]
    return [values[item] for item in items]


def _as_place(value: Any) -> Any:
    """Return a stored tensor's place, or plain values as they are; a tensor itself is refused."""
    if isinstance(value, StoredTable):
        return dict(value.places)
    if isinstance(value, StoredList):
        return list(value.places)
    assert not isinstance(value, Tensor | Mapping), "only tensors in files have places"
    return None if value is None else list(value)


def certainty_weights(preferences: Preferences) -> Tensor:
    """Return each item's certainty over the mean certainty: weights that keep the loss's scale."""
    if preferences.certainties is None:
        raise DataError(
            "alignment: no certainties beside the preferences. Set align.certainty_weights=false."
        )
    certainties_P = torch.tensor(preferences.certainties)
    return certainties_P / certainties_P.mean()


def slot_places(
    step: int, *, num_items: int, num_slots: int, batch_size: int, seed: int
) -> list[tuple[int, int]]:
    """Return the step's (item, slot) places: an item uses its slots in turn, epoch after epoch."""
    stream = epochs.places(
        step, num_items=num_items, batch_size=batch_size, seed=seed, stream="order"
    )
    return [(item, (item + epoch) % num_slots) for item, epoch in stream]
