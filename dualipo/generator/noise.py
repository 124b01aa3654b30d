"""Noise levels and noise, each draw named by where it happens (METHOD.md 4.1).

A *slot* is one fixed draw (level, noise) of a pair: its winner, its loser and its reference error
all see that draw, in whatever step it is used. Draws are made on the CPU, so that they are the
same on every device.

Shapes: B items, then a latent's own axes, which are the backbone's affair (legend `...`).
"""

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor

from dualipo import seeds


class DrawsLevels(Protocol):
    """What is asked of a backbone here; the whole of one would be an import cycle."""

    def draw_noise_levels(
        self, num_levels: int, *, generator: torch.Generator, shift: float
    ) -> Tensor:
        """Return levels_B."""
        ...


def shift_levels(levels_B: Tensor, *, shift: float) -> Tensor:
    """Move uniform flow levels towards noise: s' = shift s / (1 + (shift - 1) s)."""
    return shift * levels_B / (1.0 + (shift - 1.0) * levels_B)


def gaussian(shape: Sequence[int], *, draws: Sequence[int]) -> Tensor:
    """One standard normal tensor of `shape` per seed in `draws`, stacked."""
    return torch.stack([torch.randn(*shape, generator=_generator(seed)) for seed in draws])


def draw(
    backbone: DrawsLevels, *, shape: Sequence[int], draws: Sequence[int], shift: float
) -> tuple[Tensor, Tensor]:
    """Return levels_B and noise_B..., item by item from its own seed."""
    levels, noises = [], []
    for seed in draws:
        generator = _generator(seed)
        levels.append(backbone.draw_noise_levels(1, generator=generator, shift=shift))
        noises.append(torch.randn(*shape, generator=generator))
    return torch.cat(levels), torch.stack(noises)


def slot_seed(seed: int, *, pair_id: str, slot: int) -> int:
    """The seed of a pair's slot; the winner and the loser share it."""
    return seeds.derive(seed, "slot", pair_id, slot)


def _generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)
