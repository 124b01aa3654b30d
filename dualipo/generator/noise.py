"""Noise levels and noise, each draw named by where it happens (METHOD.md 4.1).

A *slot* is one fixed draw (level, noise) of an item: a pair's winner, its loser and its reference
errors all see that draw, in whatever step it is used. Draws are made on the CPU, so that they are
the same on every device.

Shapes: B items; a latent's own axes, which depend on the backbone, are written `...`.
"""

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor

from dualipo import seeds
from dualipo.config import Align


class HasLevels(Protocol):
    """The part of a backbone that draws need; `Backbone` itself would be an import cycle."""

    def noise_levels(self, fractions_B: Tensor, *, shift: float) -> Tensor:
        """Return levels_B."""
        ...


def shift_levels(levels_B: Tensor, *, shift: float) -> Tensor:
    """Move uniform flow levels towards noise: s' = shift s / (1 + (shift - 1) s)."""
    return shift * levels_B / (1.0 + (shift - 1.0) * levels_B)


def fractions(num: int, *, generator: torch.Generator, settings: Align) -> Tensor:
    """Draw how far towards noise, in [0, 1): uniform, or logit-normal around `logit_mean`."""
    if settings.weighting_scheme == "none":
        return torch.rand(num, generator=generator)
    normal = torch.randn(num, generator=generator)
    # A logistic function may round to 1, which is no timestep.
    return torch.sigmoid(settings.logit_mean + settings.logit_std * normal).clamp(max=1 - 1e-6)


def draw(
    backbone: HasLevels, *, shape: Sequence[int], draws: Sequence[int], settings: Align
) -> tuple[Tensor, Tensor]:
    """Return levels_B and noise of the shape [B, ...], each item's from its own seed."""
    levels, noises = [], []
    for seed in draws:
        generator = torch.Generator().manual_seed(seed)
        fraction_1 = fractions(1, generator=generator, settings=settings)
        levels.append(backbone.noise_levels(fraction_1, shift=settings.flow_shift))
        noises.append(torch.randn(*shape, generator=generator))
    return torch.cat(levels), torch.stack(noises)


def slot_seed(seed: int, *, item_id: str, slot: int) -> int:
    """Derive the seed of an item's slot; a pair's winner and loser share it."""
    return seeds.derive(seed, "slot", item_id, slot)
