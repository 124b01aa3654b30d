"""The batch of an alignment's step, and its split into micro batches.

Pairs or points come with their slot's noise and the reference's errors under that noise. Real clips
are a second stream, with a seed of its own and fresh noise every epoch.

Shapes: B batch, P items, S slots, L tokens, D features; a latent's own axes are written `...`.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from dualipo import seeds
from dualipo.config import Align
from dualipo.generator import noise
from dualipo.generator.backbone import Backbone
from dualipo.generator.preference_sets import (
    Preferences,
    RealClips,
    certainty_weights,
    slot_places,
)
from dualipo.generator.reference import ReferenceErrors
from dualipo.generator.training_errors import slot_noise
from dualipo.training import epochs


@dataclass(frozen=True)
class Steps:
    """The batches of an alignment: `ids`, `step`, the latents of each side, and `real` clips."""

    backbone: Backbone
    preferences: Preferences
    real: RealClips | None
    errors: ReferenceErrors
    settings: Align
    seed: int

    def batch(self, step: int, *, share: int = 0, num_shares: int = 1) -> dict[str, Any]:
        """Read what step `step` trains on, on the CPU, or one of its equal shares.

        Nothing of the other shares is read.
        """
        preferences = self.preferences
        stream = slot_places(
            step,
            num_items=len(preferences.ids),
            num_slots=self.settings.num_slots,
            batch_size=self.settings.train_batch_size,
            seed=seeds.derive(self.seed, "pairs"),
        )
        places = _part(stream, share, num_shares)
        items, slots = (list(indices) for indices in zip(*places, strict=True))
        latents = {side: preferences.stack(side, items) for side in preferences.sides}
        levels_B, noise_B = slot_noise(
            self.backbone,
            ids=preferences.ids,
            places=places,
            shape=latents[preferences.sides[0]].shape[1:],
            settings=self.settings,
            seed=self.seed,
        )
        batch = {
            "ids": [preferences.ids[item] for item in items],
            "step": step,
            "latents": latents,
            "draw": {
                "text_BLD": preferences.stack_texts(items),
                "levels_B": levels_B,
                "noise": noise_B,
            },
            "reference": {
                side: errors_PS[items, slots] for side, errors_PS in self.errors.sides.items()
            },
            "real": self._real(step, share, num_shares),
        }
        signs_B = preferences.signs(items)
        if signs_B is not None:
            batch["signs_B"] = signs_B
        if self.settings.certainty_weights:
            batch["weights_B"] = certainty_weights(preferences)[items]
        return batch

    def _real(self, step: int, share: int, num_shares: int) -> dict[str, Tensor]:
        if self.real is None or self.settings.real_nll_ratio == 0:
            return {}
        seed = seeds.derive(self.seed, "real")
        stream = epochs.places(
            step,
            num_items=len(self.real.latents),
            batch_size=self.settings.real_batch_size,
            seed=seed,
            stream="order",
        )
        places = _part(stream, share, num_shares)
        latents = torch.stack([self.real.latents[item] for item, _ in places]).float()
        levels_B, noise_B = noise.draw(
            self.backbone,
            shape=latents.shape[1:],
            draws=[seeds.derive(seed, item, epoch) for item, epoch in places],
            settings=self.settings,
        )
        return {
            "latents": latents,
            "text_BLD": torch.stack([self.real.texts[item] for item, _ in places]),
            "levels_B": levels_B,
            "noise": noise_B,
        }


def split(batch: dict[str, Any], num_micro_batches: int) -> list[dict[str, Any]]:
    """Split items and real clips alike, each into parts as equal as possible."""
    num_parts = min(num_micro_batches, len(batch["ids"]))
    return [_part(batch, part, num_parts) for part in range(num_parts)]


def _part(value: Any, part: int, num_parts: int) -> Any:
    if isinstance(value, dict):
        return {name: _part(inner, part, num_parts) for name, inner in value.items()}
    if isinstance(value, int):
        return value
    return value[part * len(value) // num_parts : (part + 1) * len(value) // num_parts]
