"""Clip metrics: what each must be on clips whose motion, light and colour are known."""

import functools
from typing import Any

import numpy as np
import pytest

from dualipo.evaluation import optical_flow, pixels
from dualipo.evaluation.pixels import DIVERSITY, DYNAMICS, FLICKER, UNSMOOTHNESS

FPS, SIDE = 8, 64
Clip = np.ndarray[Any, np.dtype[np.uint8]]
methods = pytest.mark.parametrize(
    "method",
    [
        "blocks",
        pytest.param(
            "dis", marks=pytest.mark.skipif("not __import__('importlib').util.find_spec('cv2')")
        ),
    ],
)


@functools.cache
def _texture(size: int = 2 * SIDE, seed: int = 0) -> Any:
    """Return a smooth random picture in colour, whose details have about five pixels."""
    rng = np.random.default_rng(seed)
    noise = rng.normal(size=(size, size, 3))
    kernel = np.exp(-(np.arange(-6, 7) ** 2) / 8)
    for axis in (0, 1):
        noise = np.apply_along_axis(lambda row: np.convolve(row, kernel, "same"), axis, noise)
    return np.clip(128 + 40 * noise / noise.std(), 0, 255).astype(np.uint8)


def _moving(step: int, num_frames: int = 5) -> Clip:
    """Show a window that slides over a picture by `step` pixels a frame."""
    picture = _texture()
    return np.stack([picture[:SIDE, step * n : step * n + SIDE] for n in range(num_frames)])


def _of(clip: Clip, method: Any = "blocks") -> dict[str, float]:
    return pixels.of_clip(clip, fps=FPS, method=method)


@methods
def test_a_frozen_clip_has_no_motion_no_flicker_and_is_smooth(method: Any) -> None:
    frozen = _of(_moving(0), method)
    assert frozen[DYNAMICS] == pytest.approx(0, abs=1e-3)
    assert frozen[FLICKER] == 0 and frozen[UNSMOOTHNESS] == pytest.approx(0, abs=1e-6)
    assert _of(_moving(2)[:1])[DYNAMICS] == 0, "one frame does not move"


@methods
@pytest.mark.parametrize("step", [1, 3, 5])
def test_a_shift_by_k_pixels_a_frame_has_k_times_fps_over_the_side(step: int, method: Any) -> None:
    assert _of(_moving(step), method)[DYNAMICS] == pytest.approx(step * FPS / SIDE, rel=0.12)


def test_a_shift_by_half_a_pixel_is_seen() -> None:
    fine = _moving(1, 9).astype(float)
    halves = np.stack([(fine[n // 2] + fine[(n + 1) // 2]) / 2 for n in range(9)])
    assert _of(halves.astype(np.uint8))[DYNAMICS] == pytest.approx(0.5 * FPS / SIDE, rel=0.3)


def test_the_dynamic_degree_does_not_hang_on_the_size_of_frames() -> None:
    small, large = _moving(2), _moving(2).repeat(4, 1).repeat(4, 2)
    assert _of(large)[DYNAMICS] == pytest.approx(_of(small)[DYNAMICS], rel=0.1)


def test_light_that_flickers_is_no_motion_and_is_not_smooth() -> None:
    still = _moving(0, 6).astype(float)
    flickering = (still + np.array([0, 20, 0, 20, 0, 20])[:, None, None, None]).clip(0, 255)
    measured = _of(flickering.astype(np.uint8))
    assert measured[DYNAMICS] < 0.02
    assert measured[FLICKER] == pytest.approx(20 / 255, rel=0.05)
    assert measured[UNSMOOTHNESS] == pytest.approx(20 / 255, rel=0.05)


def test_even_motion_flickers_and_is_smooth() -> None:
    moving = _of(_moving(3))
    assert moving[FLICKER] > 5 * moving[UNSMOOTHNESS] > 0


def test_sharpness_contrast_and_saturation_follow_blur_range_and_colour() -> None:
    clip = _moving(0)
    plain = _of(clip)
    blurred = _of((clip.astype(float) + np.roll(clip, 1, 2) + np.roll(clip, 1, 1)) / 3)
    assert blurred["sharpness"] < plain["sharpness"]
    halved = _of(clip // 2)
    assert halved["contrast"] == pytest.approx(plain["contrast"] / 2, rel=0.05)
    grey = _of(clip.mean(-1, keepdims=True).repeat(3, -1))
    assert grey["saturation"] < 1e-6 < plain["saturation"]


def test_copies_of_a_clip_have_no_diversity_and_other_pictures_do() -> None:
    clip, other = _moving(0), np.stack([_texture(SIDE, seed=1)] * 5)
    copies = pixels.of_prompt([clip, clip], fps=[FPS, FPS], method="blocks")
    assert copies[DIVERSITY] == [0.0] and len(copies[DYNAMICS]) == 2
    assert pixels.diversity([clip, other]) > 0.05
    assert DIVERSITY not in pixels.of_prompt([clip], fps=[FPS], method="blocks")


def test_a_pixel_is_fetched_from_where_it_moved_to() -> None:
    clip = _moving(3).astype(np.float32).mean(-1)
    flow = optical_flow.motion(clip / 255, "blocks")
    back = optical_flow.warped(clip[1:], flow)
    middle = np.s_[:, 8:-8, 8:-8]
    assert np.abs(back[middle] - clip[:-1][middle]).mean() < 2
