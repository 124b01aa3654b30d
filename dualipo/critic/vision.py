"""From clips to SigLIP's input, and how many visual tokens come out (METHOD.md 3.5).

Leaves out InternViT and image tiling. Legend: F frames, H and W pixels, C colours.
"""

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn
from transformers import SiglipVisionConfig

from dualipo.config import Critic
from dualipo.critic import frames
from dualipo.critic.vlm import Query


def tokens_per_frame(config: SiglipVisionConfig) -> int:
    """After the projector's 2x2 folding: 27x27 patches of SigLIP-384 become 196 tokens."""
    assert isinstance(config.image_size, int) and isinstance(config.patch_size, int)
    return math.ceil(config.image_size // config.patch_size / 2) ** 2


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


def unique_clips(queries: Sequence[Query]) -> dict[str, np.ndarray]:
    """Every clip of the queries once, by its id."""
    return {
        clip_id: clip
        for query in queries
        for clip_id, clip in zip(query.clip_ids, query.clips, strict=True)
    }
