"""Assembles what an alignment's step trains on, and splits it into micro batches.

Pairs come with their slot's noise and the reference's errors under it; real clips are a second
stream with a seed of its own and fresh noise every epoch.

Shapes: B batch, P pairs, S slots, L tokens, D features; a latent's own axes are written `...`.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from dualipo import seeds
from dualipo.config import Align
from dualipo.generator import noise
from dualipo.generator.backbone import Backbone
from dualipo.generator.batches import PreferenceSet, RealClips, cycle, pair_places
from dualipo.generator.denoise import pair_noise
from dualipo.generator.reference import ReferenceErrors


@dataclass(frozen=True)
class Steps:
    """Builds a step's batch: `ids`, `step`, and tensors of its `pairs` and `real` clips."""

    backbone: Backbone
    preferences: PreferenceSet
    real: RealClips | None
    errors: ReferenceErrors
    settings: Align
    seed: int

    def batch(self, step: int) -> dict[str, Any]:
        """All that step `step` trains on, on the CPU."""
        places = pair_places(
            step,
            num_pairs=len(self.preferences.pair_ids),
            num_slots=self.settings.num_slots,
            batch_size=self.settings.train_batch_size,
            seed=seeds.derive(self.seed, "pairs"),
        )
        pairs, slots = (list(indices) for indices in zip(*places, strict=True))
        levels_B, noise_B = pair_noise(
            self.backbone,
            preferences=self.preferences,
            places=places,
            settings=self.settings,
            seed=self.seed,
        )
        return {
            "ids": [self.preferences.pair_ids[pair] for pair in pairs],
            "step": step,
            "pairs": {
                "winners": self.preferences.stack("winners", pairs),
                "losers": self.preferences.stack("losers", pairs),
                "text_BLD": self.preferences.stack_texts(pairs),
                "levels_B": levels_B,
                "noise": noise_B,
                "reference_w": self.errors.winner_PS[pairs, slots],
                "reference_l": self.errors.loser_PS[pairs, slots],
            },
            "real": self._real(step),
        }

    def _real(self, step: int) -> dict[str, Tensor]:
        if self.real is None or self.settings.real_nll_ratio == 0:
            return {}
        seed = seeds.derive(self.seed, "real")
        stream = cycle(
            step,
            num_items=len(self.real.latents),
            batch_size=self.settings.real_batch_size,
            seed=seed,
        )
        levels_B, noise_B = noise.draw(
            self.backbone,
            shape=self.real.latents[0].shape,
            draws=[seeds.derive(seed, item, epoch) for item, epoch in stream],
            settings=self.settings,
        )
        return {
            "latents": torch.stack([self.real.latents[item] for item, _ in stream]),
            "text_BLD": torch.stack([self.real.texts[item] for item, _ in stream]),
            "levels_B": levels_B,
            "noise": noise_B,
        }


def split(batch: dict[str, Any], num_micro_batches: int) -> list[dict[str, Any]]:
    """Split pairs and real clips alike, each into parts as equal as can be."""
    num_parts = min(num_micro_batches, len(batch["ids"]))
    return [_part(batch, part, num_parts) for part in range(num_parts)]


def _part(value: Any, part: int, num_parts: int) -> Any:
    if isinstance(value, dict):
        return {name: _part(inner, part, num_parts) for name, inner in value.items()}
    if isinstance(value, int):
        return value
    return value[part * len(value) // num_parts : (part + 1) * len(value) // num_parts]
