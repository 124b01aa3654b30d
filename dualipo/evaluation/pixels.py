"""Metrics of a clip from its pixels, without weights: collapse and hacking are seen for free.

| metric | of a clip | a frozen clip has |
|---|---|---|
| dynamic degree | mean of the largest 5 % of motion, in lengths of the longer side a second | 0 |
| flicker | mean absolute difference of neighbouring frames (VBench's), of the range of grey | 0 |
| unsmoothness | mean absolute difference of a frame and the mean of its warped neighbours | 0 |
| sharpness | mean absolute Laplacian | |
| contrast | standard deviation of a frame's luma | |
| saturation | mean difference of a pixel's largest and smallest colour | |
| diversity | mean absolute difference of a prompt's clips, two by two, at 8 x 8 pixels | |

All but the first lie in [0, 1]. Motion (`optical_flow`) is measured on frames whose longer side has
128 pixels at most. Flicker rises with motion too; unsmoothness is what motion does not explain.
"""

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np

from dualipo.evaluation import optical_flow
from dualipo.evaluation.optical_flow import Array, Method

DYNAMICS, FLICKER, UNSMOOTHNESS = "dynamic degree", "flicker", "unsmoothness"
DIVERSITY = "diversity"
METRICS = (DYNAMICS, FLICKER, UNSMOOTHNESS, "sharpness", "contrast", "saturation", DIVERSITY)
_LONGEST, _TOP_SHARE, _THUMBNAIL = 128, 0.05, 8
_LUMA = np.array([0.299, 0.587, 0.114], np.float32)


def of_clip(frames_FHW3: Any, *, fps: float, method: Method) -> dict[str, float]:
    """Return every metric of a clip of uint8 frames but the diversity, which takes several."""
    frames = _as_shares(frames_FHW3)
    luma_FHW: Array = (frames @ _LUMA).astype(np.float32)
    small_FHW = _shrunk(luma_FHW)
    return {
        DYNAMICS: dynamic_degree(small_FHW, fps=fps, method=method),
        FLICKER: float(np.abs(np.diff(frames, axis=0)).mean()) if len(frames) > 1 else 0.0,
        UNSMOOTHNESS: _unsmoothness(small_FHW, method),
        "sharpness": _sharpness(luma_FHW),
        "contrast": float(luma_FHW.std(axis=(1, 2)).mean()),
        "saturation": float((frames.max(-1) - frames.min(-1)).mean()),
    }


def of_prompt(
    clips: Sequence[Any], *, fps: Sequence[float], method: Method
) -> dict[str, list[float]]:
    """Return the metrics of a prompt's clips, by name; its diversity where it has two or more."""
    each = [of_clip(clip, fps=rate, method=method) for clip, rate in zip(clips, fps, strict=True)]
    values = {name: [metrics[name] for metrics in each] for name in METRICS if name != DIVERSITY}
    if len(clips) > 1:
        values[DIVERSITY] = [diversity(clips)]
    return values


def dynamic_degree(luma_FHW: Array, *, fps: float, method: Method) -> float:
    """Return the mean of the largest 5 % of motion, in lengths of the longer side a second."""
    if len(luma_FHW) < 2:
        return 0.0
    speeds = np.linalg.norm(optical_flow.motion(luma_FHW, method), axis=-1)
    speeds = np.sort(speeds.reshape(len(speeds), -1), axis=1)
    num_top = max(1, int(_TOP_SHARE * speeds.shape[1]))
    return float(speeds[:, -num_top:].mean()) * fps / max(luma_FHW.shape[1:])


def diversity(clips: Sequence[Any]) -> float:
    """Return how much a prompt's clips differ: 0 for copies of one."""
    small = [_thumbnail(_as_shares(clip)) for clip in clips]
    num_frames = min(map(len, small))
    pairs = combinations([clip[:num_frames] for clip in small], 2)
    return float(np.mean([np.abs(first - second).mean() for first, second in pairs]))


def grouped(values_by_prompt: Mapping[str, Mapping[str, list[float]]]) -> dict[str, Any]:
    """Turn metrics by prompt into values by metric and prompt, as an event holds them."""
    return {
        name: {
            prompt: [float(f"{value:.6g}") for value in values[name]]
            for prompt, values in values_by_prompt.items()
            if name in values
        }
        for name in METRICS
    }


def _as_shares(frames: Any) -> Array:
    """Return bytes as shares of their range."""
    return (np.asarray(frames, np.float32) / np.float32(255)).astype(np.float32)


def _unsmoothness(luma_FHW: Array, method: Method) -> float:
    """Return what is left of each inner frame beside its neighbours, moved to its place."""
    if len(luma_FHW) < 3:
        return 0.0
    inner = luma_FHW[1:-1]
    moved = [
        optical_flow.warped(other, optical_flow.between(inner, other, method))
        for other in (luma_FHW[:-2], luma_FHW[2:])
    ]
    return float(np.abs(inner - (moved[0] + moved[1]) / 2).mean())


def _sharpness(luma_FHW: Array) -> float:
    inner = luma_FHW[:, 1:-1, 1:-1]
    sides = luma_FHW[:, :-2, 1:-1] + luma_FHW[:, 2:, 1:-1]
    sides = sides + luma_FHW[:, 1:-1, :-2] + luma_FHW[:, 1:-1, 2:]
    return float(np.abs(inner - sides / 4).mean()) if inner.size else 0.0


def _shrunk(luma_FHW: Array) -> Array:
    """Average squares of pixels so that the longer side has 128 at most."""
    factor = -(-max(luma_FHW.shape[1:]) // _LONGEST)
    return _averaged(luma_FHW[..., None], factor, factor)[..., 0]


def _thumbnail(frames_FHW3: Array) -> Array:
    _, height, width, _ = frames_FHW3.shape
    return _averaged(frames_FHW3, max(1, height // _THUMBNAIL), max(1, width // _THUMBNAIL))


def _averaged(frames_FHWC: Array, down: int, across: int) -> Array:
    num, height, width, channels = frames_FHWC.shape
    rows, columns = height // down, width // across
    cut = frames_FHWC[:, : rows * down, : columns * across]
    mean: Array = cut.reshape(num, rows, down, columns, across, channels).mean((2, 4))
    return mean
