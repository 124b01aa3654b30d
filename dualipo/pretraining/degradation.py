"""Degrades clean frames as codecs and generators do: blur, lost contrast, coarse and fine noise.

A critic that has seen only clean drawings misreads a generator's soft edges. The content and its
movement stay as they were.
"""

import numpy as np

MAX_BLUR = 0.3  # of a pixel's light that goes to each neighbour along an axis
MAX_FADE = 0.15
MAX_FINE_NOISE = 6.0  # of 255, per pixel
MAX_COARSE_NOISE = 8.0  # of 255, per cell of 4 by 4 pixels
CELL = 4


def degrade(frames_FHW3: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return degraded uint8 frames; blur and contrast hold for the clip, noise differs by frame."""
    degraded_FHW3 = frames_FHW3.astype(np.float32)
    share = rng.uniform(0.0, MAX_BLUR)
    for axis in (1, 2):
        degraded_FHW3 = _blur(degraded_FHW3, axis, share)
    mean_113 = degraded_FHW3.mean(axis=(0, 1, 2))
    degraded_FHW3 = mean_113 + (degraded_FHW3 - mean_113) * (1 - rng.uniform(0.0, MAX_FADE))
    num_frames, height, width, _ = degraded_FHW3.shape
    cells = (num_frames, height // CELL, width // CELL, 3)
    coarse = rng.normal(0.0, rng.uniform(0.0, MAX_COARSE_NOISE), cells).astype(np.float32)
    degraded_FHW3 += coarse.repeat(CELL, axis=1).repeat(CELL, axis=2)
    degraded_FHW3 += rng.normal(0.0, rng.uniform(0.0, MAX_FINE_NOISE), degraded_FHW3.shape)
    return np.clip(degraded_FHW3, 0, 255).astype(np.uint8)


def _blur(frames_FHW3: np.ndarray, axis: int, share: float) -> np.ndarray:
    """Give `share` of each pixel to each of its two neighbours; the borders repeat."""
    size = frames_FHW3.shape[axis]
    before = np.take(frames_FHW3, np.maximum(np.arange(size) - 1, 0), axis)
    after = np.take(frames_FHW3, np.minimum(np.arange(size) + 1, size - 1), axis)
    return (1 - 2 * share) * frames_FHW3 + share * (before + after)
