"""A fixture of the world's tests that degrades clips."""

import numpy as np
import pytest


@pytest.fixture(scope="session")
def blurred():
    """Return a function that blurs a clip by 0.5 pixels and adds noise of 4 levels."""

    def blur(frames_FHW3: np.ndarray, *, seed: int) -> np.ndarray:
        kernel = np.exp(-(np.arange(-2, 3) ** 2) / (2 * 0.5**2))
        soft = frames_FHW3.astype(float)
        for axis in (1, 2):
            pad = [(2, 2) if a == axis else (0, 0) for a in range(4)]
            wide, size = np.pad(soft, pad, mode="edge"), soft.shape[axis]
            soft = sum(
                weight * np.take(wide, range(k, k + size), axis=axis)
                for k, weight in enumerate(kernel / kernel.sum())
            )
        noisy = soft + np.random.default_rng(seed).normal(0, 4, soft.shape)
        return np.clip(np.rint(noisy), 0, 255).astype(np.uint8)

    return blur
