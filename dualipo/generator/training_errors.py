"""Denoising errors of clips under named noise, for the policy and its reference.

Both are computed by this code, so that at theta = reference the loss is ln 2 (METHOD.md 4.2, 7).

Shapes: B batch, L tokens, D features; a latent's own axes are written `...`.
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from dualipo.config import Align
from dualipo.generator import losses
from dualipo.generator import noise as noise_draws
from dualipo.generator.backbone import Backbone


def slot_noise(
    backbone: Backbone,
    *,
    ids: Sequence[str],
    places: Sequence[tuple[int, int]],
    shape: Sequence[int],
    settings: Align,
    seed: int,
) -> tuple[Tensor, Tensor]:
    """Draw the fixed levels_B and noise of (item, slot) places: winner and loser share them."""
    draws = [noise_draws.slot_seed(seed, item_id=ids[item], slot=slot) for item, slot in places]
    return noise_draws.draw(backbone, shape=shape, draws=draws, settings=settings)


def shared_errors(
    backbone: Backbone,
    *,
    sides: Mapping[str, Tensor],
    text_BLD: Tensor,
    levels_B: Tensor,
    noise: Tensor,
) -> dict[str, Tensor]:
    """Compute each side's errors_B, in one forward pass, under the same noise and level."""
    num = len(sides)
    errors = single_errors(
        backbone,
        latents=torch.cat(list(sides.values())),
        text_BLD=torch.cat([text_BLD] * num),
        levels_B=torch.cat([levels_B] * num),
        noise=torch.cat([noise] * num),
    )
    return dict(zip(sides, errors.chunk(num), strict=True))


def single_errors(
    backbone: Backbone, *, latents: Tensor, text_BLD: Tensor, levels_B: Tensor, noise: Tensor
) -> Tensor:
    """Compute the denoising error of each latent under its own noise and level."""
    parts = (latents.float(), text_BLD, levels_B, noise)
    latents, text_BLD, levels_B, noise = (part.to(backbone.device) for part in parts)
    noisy = backbone.noised(latents, noise=noise, levels_B=levels_B)
    prediction = backbone.predict(noisy, levels_B=levels_B, text_BLD=text_BLD)
    target = backbone.target(latents, noise=noise, levels_B=levels_B)
    return losses.denoising_error(prediction, target)
