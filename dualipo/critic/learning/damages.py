"""Damages that make any clip certainly worse in one dimension, from slight to strong.

A damage is a function of frames uint8 [F, H, W, 3], a severity above 0 up to 1, and a random
generator. It keeps the clip's shape. Motion is damaged in time alone (frames are held, shuffled,
played backwards, shaken), faithfulness in the picture (patches of other times, warps, tints,
vanishing, blur). Leaves out consistency, which a caption damages and not a clip.

Legend: F frames, H height, W width.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from dualipo.critic.asks import Clips
from dualipo.records import Dimension

Frames = np.ndarray[Any, np.dtype[np.uint8]]
Damager = Callable[[Frames, float, np.random.Generator], Frames]
LEAST_CHANGE = 0.5  # mean levels of 255 under which a damage cannot be seen


@dataclass(frozen=True)
class Damage:
    """A kind of damage: the dimension in which it is worse, and the words that say so."""

    dimension: Dimension
    reason: str
    apply: Damager


@dataclass(frozen=True)
class Damaged:
    """A clip to be damaged: its hash, the kind of damage, how strong, and the seed of its draws."""

    clip: str
    kind: str
    severity: float
    seed: int

    def frames(self, clips: Clips) -> Frames:
        """Return the damaged frames."""
        rng = np.random.default_rng(self.seed)
        return DAMAGES[self.kind].apply(clips(self.clip), self.severity, rng)


def with_damaged(clips: Clips, damaged: Mapping[str, Damaged]) -> Clips:
    """Return a function that also knows the damaged clips, by the names that they are given."""
    return lambda name: damaged[name].frames(clips) if name in damaged else clips(name)


def is_visible(before: Frames, after: Frames) -> bool:
    """Tell whether a damage changed a clip enough to be seen; one that stands still keeps still."""
    return float(np.abs(before.astype(np.int16) - after).mean()) >= LEAST_CHANGE


def _stretch(num: int, severity: float, rng: np.random.Generator) -> slice:
    """Draw a stretch of frames, at least three where there are so many, as long as is severe."""
    length = min(num, max(3, round(severity * num)))
    first = int(rng.integers(0, num - length + 1))
    return slice(first, first + length)


def _held(frames_FHW3: Frames, severity: float, rng: np.random.Generator) -> Frames:
    damaged = frames_FHW3.copy()
    stretch = _stretch(len(damaged), severity, rng)
    damaged[stretch] = frames_FHW3[stretch.start]
    return damaged


def _shuffled(frames_FHW3: Frames, severity: float, rng: np.random.Generator) -> Frames:
    damaged = frames_FHW3.copy()
    stretch = _stretch(len(damaged), severity, rng)
    damaged[stretch] = rng.permutation(damaged[stretch])
    return damaged


def _reversed(frames_FHW3: Frames, severity: float, rng: np.random.Generator) -> Frames:
    damaged = frames_FHW3.copy()
    stretch = _stretch(len(damaged), severity, rng)
    damaged[stretch] = damaged[stretch][::-1]
    return damaged


def _shaken(frames_FHW3: Frames, severity: float, rng: np.random.Generator) -> Frames:
    reach = max(1, round(0.15 * severity * min(frames_FHW3.shape[1:3])))
    offsets_F2 = rng.integers(-reach, reach + 1, (len(frames_FHW3), 2))
    rows, columns = (np.arange(size) for size in frames_FHW3.shape[1:3])
    moved = [
        frame[np.clip(rows + down, 0, rows[-1])][:, np.clip(columns + right, 0, columns[-1])]
        for frame, (down, right) in zip(frames_FHW3, offsets_F2, strict=True)
    ]
    return np.stack(moved)


def _box(frames_FHW3: Frames, share: float, rng: np.random.Generator) -> tuple[slice, slice]:
    """Draw a rectangle whose sides are this share of the picture's."""
    sides = []
    for size in frames_FHW3.shape[1:3]:
        length = max(2, round(share * size))
        first = int(rng.integers(0, max(1, size - length + 1)))
        sides.append(slice(first, first + length))
    return sides[0], sides[1]


def _patched(frames_FHW3: Frames, severity: float, rng: np.random.Generator) -> Frames:
    damaged = frames_FHW3.copy()
    for _ in range(max(1, round(6 * severity))):
        rows, columns = _box(frames_FHW3, 0.35, rng)
        source_F = rng.integers(0, len(damaged), len(damaged))
        damaged[:, rows, columns] = frames_FHW3[source_F][:, rows, columns]
    return damaged


def _warped(frames_FHW3: Frames, severity: float, rng: np.random.Generator) -> Frames:
    num, height, width = frames_FHW3.shape[:3]
    reach = 0.12 * severity * min(height, width)
    waves_2, speed = rng.uniform(1.5, 3.5, 2), rng.uniform(0.5, 1.5)
    rows_HW, columns_HW = np.indices((height, width))
    damaged = np.empty_like(frames_FHW3)
    for n, frame in enumerate(frames_FHW3):
        turn = 2 * np.pi * speed * n / max(1, num)
        down_HW = reach * np.sin(2 * np.pi * waves_2[0] * columns_HW / width + turn)
        right_HW = reach * np.sin(2 * np.pi * waves_2[1] * rows_HW / height - turn)
        from_rows = np.clip(np.rint(rows_HW + down_HW), 0, height - 1).astype(int)
        from_columns = np.clip(np.rint(columns_HW + right_HW), 0, width - 1).astype(int)
        damaged[n] = frame[from_rows, from_columns]
    return damaged


def _tinted(frames_FHW3: Frames, severity: float, rng: np.random.Generator) -> Frames:
    stretch = _stretch(len(frames_FHW3), 0.5, rng)
    factors_3 = 1 + severity * rng.permutation([-0.5, 0.3, 0.6])
    damaged = frames_FHW3.copy()
    tinted = damaged[stretch] * factors_3 + 20 * severity
    damaged[stretch] = np.clip(np.rint(tinted), 0, 255).astype(np.uint8)
    return damaged


def _vanished(frames_FHW3: Frames, severity: float, rng: np.random.Generator) -> Frames:
    """Cover the liveliest of some rectangles with the picture's border colour, for a stretch."""
    damaged = frames_FHW3.copy()
    boxes = [_box(frames_FHW3, 0.25 + 0.35 * severity, rng) for _ in range(8)]
    rows, columns = max(boxes, key=lambda box: float(frames_FHW3[:, box[0], box[1]].std()))
    stretch = _stretch(len(damaged), 0.25 + 0.5 * severity, rng)
    border = np.concatenate([frames_FHW3[:, 0], frames_FHW3[:, -1]], 1).reshape(-1, 3)
    damaged[stretch, rows, columns] = np.median(border, axis=0).astype(np.uint8)
    return damaged


def _blurred(frames_FHW3: Frames, severity: float, rng: np.random.Generator) -> Frames:
    """Blur a stretch by a box that passes twice over each axis."""
    stretch = _stretch(len(frames_FHW3), 0.6, rng)
    reach = max(1, round(0.06 * severity * min(frames_FHW3.shape[1:3])))
    soft = frames_FHW3[stretch].astype(np.float32)
    for axis in (1, 2, 1, 2):
        pad = [(reach, reach) if a == axis else (0, 0) for a in range(4)]
        wide, size = np.pad(soft, pad, mode="edge"), soft.shape[axis]
        parts = [np.take(wide, range(k, k + size), axis=axis) for k in range(2 * reach + 1)]
        soft = np.mean(parts, axis=0)
    damaged = frames_FHW3.copy()
    damaged[stretch] = np.clip(np.rint(soft), 0, 255).astype(np.uint8)
    return damaged


DAMAGES: dict[str, Damage] = {
    "held": Damage("motion", "frames stand still for a while", _held),
    "shuffled": Damage("motion", "frames come in a wrong order", _shuffled),
    "reversed": Damage("motion", "a part plays backwards", _reversed),
    "shaken": Damage("motion", "the picture jumps from frame to frame", _shaken),
    "patched": Damage("faithfulness", "parts of the picture are torn out of time", _patched),
    "warped": Damage("faithfulness", "shapes are bent and waver", _warped),
    "tinted": Damage("faithfulness", "colours change for a while", _tinted),
    "vanished": Damage("faithfulness", "a part of the picture vanishes", _vanished),
    "blurred": Damage("faithfulness", "shapes blur for a while", _blurred),
}
