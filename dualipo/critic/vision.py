"""From clips to SigLIP's input (METHOD.md 3.5).

Leaves out InternViT and image tiling. Legend: F frames, H and W pixels, C colours.
"""

import numpy as np
import torch
from torch import Tensor, nn

from dualipo.config import Critic
from dualipo.critic import frames


def pixels(clip_FHWC: np.ndarray, *, clip_id: str, size: int, settings: Critic) -> Tensor:
    """Choose frames, resize them to `size`, and scale by mean and deviation 0.5: [F, C, S, S]."""
    chosen = frames.choose(
        clip_FHWC,
        max_frames=settings.max_frames,
        short_video=settings.short_video,
        clip_id=clip_id,
    )
    unit_FCHW = torch.from_numpy(chosen).permute(0, 3, 1, 2).float() / 255
    if unit_FCHW.shape[2:] != (size, size):
        unit_FCHW = nn.functional.interpolate(
            unit_FCHW, (size, size), mode="bicubic", antialias=True
        ).clamp(0, 1)
    return (unit_FCHW - 0.5) / 0.5
