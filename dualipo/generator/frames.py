"""Frames as people see them, uint8, and as an autoencoder takes them, in [-1, 1].

A batch of small clips goes through an autoencoder at once. Large clips go one by one, or the
activations would not fit (those of one clip of 81x480x832 take gigabytes).

Shapes: B batch, C channels, F frames, H and W pixels.
"""

import torch
from torch import Tensor

PIXELS_AT_ONCE = 1 << 24  # half of a clip of 81x480x832, far more than a batch of the world's


def clips_at_once(*, num_pixels: int) -> int:
    """Return how many clips of so many pixels (frames x height x width) go through together."""
    return max(1, PIXELS_AT_ONCE // num_pixels)


def to_video(frames_BFHWC: Tensor, *, device: torch.device) -> Tensor:
    """Turn uint8 frames into video_BCFHW in [-1, 1], float32."""
    return frames_BFHWC.to(device).permute(0, 4, 1, 2, 3).float() / 127.5 - 1.0


def to_frames(video_BCFHW: Tensor) -> Tensor:
    """Round video to uint8 frames on the CPU; a clip that is not finite is black (fault 23)."""
    levels_BCFHW = ((video_BCFHW / 2 + 0.5).clamp(0, 1) * 255).round()
    is_finite_B = video_BCFHW.isfinite().flatten(1).all(1)
    levels_BCFHW[~is_finite_B] = 0.0
    return levels_BCFHW.permute(0, 2, 3, 4, 1).to("cpu", torch.uint8).contiguous()
