"""Pixels for a vision tower: a clip's frames chosen, resized and scaled (METHOD.md 3.5).

This is torch code of our own, because transformers' video processors need torchvision. Leaves out
image tiling.

Legend: F frames, H and W pixels, C colours, T pairs of frames, L patches, P values of a patch.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from dualipo.config import Critic
from dualipo.critic.models import frame_choice
from dualipo.errors import ModelError
from dualipo.model_files import settings_files

PREPROCESSOR = "preprocessor_config.json"

Triple = tuple[float, float, float]
SizeOf = Callable[[int, int], tuple[int, int]]  # height, width of frames -> those they are seen at


@dataclass(frozen=True)
class Scaling:
    """The mean and deviation of the colours in the tower's training."""

    mean: Triple = (0.5, 0.5, 0.5)
    std: Triple = (0.5, 0.5, 0.5)


SIGLIP = Scaling()
IMAGENET = Scaling((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
CLIP = Scaling((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711))


def preprocessor_in(folder: Path) -> Path | None:
    """Return the path of a folder's preprocessor file, which holds the scaling, or None."""
    path = folder / PREPROCESSOR
    return path if path.is_file() else None


def scaling_of(preprocessor: Path | None, default: Scaling) -> Scaling:
    """Read the scaling from a preprocessor's file, or return the family's default."""
    fields = settings_files.read(preprocessor) if preprocessor else {}
    if "image_mean" not in fields or "image_std" not in fields:
        return default
    return Scaling(*(_colours(preprocessor, fields, key) for key in ("image_mean", "image_std")))


def _colours(preprocessor: Path | None, fields: Mapping[str, Any], key: str) -> Triple:
    """Return a number for each of the three colours; refuse deviations that are not positive."""
    try:
        red, green, blue = map(float, fields[key])
    except (TypeError, ValueError):
        red = green = blue = math.nan
    least = min(red, green, blue)
    if not math.isfinite(red + green + blue) or (key == "image_std" and least <= 0):
        raise ModelError(
            f"{preprocessor}: {key} is {fields[key]!r}, where three numbers are needed. "
            f"{settings_files.RESTORE}"
        )
    return red, green, blue


def pixels(
    clip_FHWC: np.ndarray,
    *,
    clip_hash: str,
    size: tuple[int, int],
    scaling: Scaling = SIGLIP,
    settings: Critic,
) -> Tensor:
    """Choose frames, resize them to `size` (height, width) and scale them: [F, C, H, W]."""
    chosen = frame_choice.choose(
        clip_FHWC,
        max_frames=settings.max_frames,
        short_video=settings.short_video,
        clip_hash=clip_hash,
    )
    unit_FCHW = torch.from_numpy(chosen).permute(0, 3, 1, 2).float() / 255
    if unit_FCHW.shape[2:] != size:
        unit_FCHW = nn.functional.interpolate(
            unit_FCHW, size, mode="bicubic", antialias=True
        ).clamp(0, 1)
    mean_C11, std_C11 = (torch.tensor(s)[:, None, None] for s in (scaling.mean, scaling.std))
    return (unit_FCHW - mean_C11) / std_C11


def fitting_size(height: int, width: int, *, multiple: int, max_pixels: int) -> tuple[int, int]:
    """Return the nearest size in whole multiples, of about the same shape, within `max_pixels`."""
    shrink = min(1.0, (max_pixels / (height * width)) ** 0.5)
    rounding = round if shrink == 1.0 else int

    def whole(side: int) -> int:
        return max(1, rounding(side * shrink / multiple)) * multiple

    return whole(height), whole(width)


def patches(
    pixels_FCHW: Tensor, *, patch: int, merge: int, pair: int
) -> tuple[Tensor, tuple[int, int, int]]:
    """Cut frames into Qwen-VL's patches [L, P]; return them with their grid (T, rows, columns).

    `pair` frames make one row in time, and the last frame is repeated to fill the last row.
    `merge` x `merge` neighbours in space stand together, because the tower merges them into one
    token.
    """
    missing = -len(pixels_FCHW) % pair
    filled = torch.cat([pixels_FCHW, pixels_FCHW[-1:].expand(missing, -1, -1, -1)])
    colours, height, width = filled.shape[1:]
    grid = len(filled) // pair, height // patch, width // patch
    blocks = filled.reshape(
        grid[0], pair, colours, grid[1] // merge, merge, patch, grid[2] // merge, merge, patch
    )
    ordered = blocks.permute(0, 3, 6, 4, 7, 2, 1, 5, 8)
    return ordered.reshape(grid[0] * grid[1] * grid[2], -1), grid
