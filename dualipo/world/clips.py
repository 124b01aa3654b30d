"""Renders a scene into frames, uint8 [F, H, W, 3], antialiased, with at most one defect.

Ground truth is exact: `paths` gives the place of each figure in each frame, and `render` paints
exactly that. All random numbers come from the generator handed in, so a clip is a pure function of
its seed.

Shape legend: F frames, H and W pixels, 3 colour channels.
"""

from dataclasses import dataclass

import numpy as np

from dualipo.world.scenes import (
    BACKGROUNDS,
    BOUNCE_TRAVEL,
    COLOURS,
    DIRECTIONS,
    RELATIONS,
    SIZES,
    TRAVEL,
    Background,
    Defect,
    Figure,
    Scene,
)

FRAME_SIZE = 32
MARGIN = 1.5


@dataclass(frozen=True, slots=True)
class Track:
    """One figure over time; all arrays have length F, distances are in pixels."""

    centre_F2: np.ndarray
    radius_F: np.ndarray
    opacity_F: np.ndarray
    softness_F: np.ndarray
    shapes: tuple[str, ...]
    colours_F3: np.ndarray


def render(
    scene: Scene, rng: np.random.Generator, *, num_frames: int = 9, defect: Defect | None = None
) -> np.ndarray:
    """Draw the scene at a random place; return uint8 [F, 32, 32, 3]."""
    return paint(scene.background, tracks(scene, rng, num_frames=num_frames, defect=defect))


def tracks(
    scene: Scene, rng: np.random.Generator, *, num_frames: int = 9, defect: Defect | None = None
) -> list[Track]:
    """Return place and look of each figure in each frame, the defect included."""
    moving = zip(scene.figures, paths(scene, rng, num_frames), strict=True)
    placed = [_track(figure, centre_F2) for figure, centre_F2 in moving]
    if defect:
        placed[defect.figure] = _spoil(placed[defect.figure], defect, rng)
    return placed


def paint(background: Background, placed: list[Track]) -> np.ndarray:
    """Paint the tracks over a background; return uint8 [F, 32, 32, 3]."""
    num_frames = len(placed[0].radius_F)
    canvas_FHW3 = np.empty((num_frames, FRAME_SIZE, FRAME_SIZE, 3), np.float32)
    canvas_FHW3[:] = np.asarray(BACKGROUNDS[background], np.float32)
    for track in placed:
        for frame in range(num_frames):
            _paint(canvas_FHW3[frame], track, frame)
    return np.rint(canvas_FHW3).astype(np.uint8)


def paths(scene: Scene, rng: np.random.Generator, num_frames: int) -> list[np.ndarray]:
    """Return each figure's centre in each frame: float [F, 2], (x, y) in pixels."""
    offset_F2 = _offsets(scene, rng, num_frames)
    low_2 = -offset_F2.min(axis=0)
    high_2 = FRAME_SIZE - 1 - offset_F2.max(axis=0)
    if scene.relation is None:
        reach = SIZES[scene.figures[0].size] + MARGIN
        start_2 = rng.uniform(low_2 + reach, np.maximum(high_2 - reach, low_2 + reach + 1e-6))
        return [start_2 + offset_F2]
    reach = SIZES["small"] + MARGIN
    middle_2 = np.clip(rng.normal((FRAME_SIZE - 1) / 2, 1.5, 2), low_2 + reach, high_2 - reach)
    axis_2 = np.asarray(RELATIONS[scene.relation], float)
    middle_2 = np.where(axis_2 != 0, (FRAME_SIZE - 1) / 2, middle_2)
    apart = rng.uniform(7.0, 8.8)
    return [middle_2 + apart * axis_2 + offset_F2, middle_2 - apart * axis_2 + offset_F2]


def _offsets(scene: Scene, rng: np.random.Generator, num_frames: int) -> np.ndarray:
    """Return the displacement from the start in each frame, float [F, 2] in pixels."""
    motion = scene.motion
    time_F = np.linspace(0.0, 1.0, num_frames)
    if motion.kind == "rest" or motion.direction is None:
        return np.zeros((num_frames, 2))
    along_2 = np.asarray(DIRECTIONS[motion.direction], float)
    if motion.kind == "bounce":
        sign = rng.choice((-1.0, 1.0))
        return sign * rng.uniform(*BOUNCE_TRAVEL) * (1 - np.abs(1 - 2 * time_F))[:, None] * along_2
    assert motion.speed is not None
    return rng.uniform(*TRAVEL[motion.speed]) * time_F[:, None] * along_2


def _track(figure: Figure, centre_F2: np.ndarray) -> Track:
    num_frames = len(centre_F2)
    ones_F = np.ones(num_frames)
    colours_F3 = np.tile(np.asarray(COLOURS[figure.colour], np.float32), (num_frames, 1))
    shapes = (figure.shape,) * num_frames
    return Track(centre_F2, SIZES[figure.size] * ones_F, ones_F, ones_F, shapes, colours_F3)


def _spoil(track: Track, defect: Defect, rng: np.random.Generator) -> Track:
    """Apply one defect: each kind changes one property, over the frames from `start` on."""
    num_frames = len(track.radius_F)
    frame_F = np.arange(num_frames)
    first = max(1, round(defect.start * num_frames))
    late_F = frame_F >= first
    centre_F2, radius_F, opacity_F = (
        a.copy() for a in (track.centre_F2, track.radius_F, track.opacity_F)
    )
    softness_F, shapes, colours_F3 = (
        track.softness_F.copy(),
        list(track.shapes),
        track.colours_F3.copy(),
    )
    match defect.kind:
        case "morph":
            shapes[first:] = [defect.target or "circle"] * (num_frames - first)
        case "recolour":
            colours_F3[late_F] = COLOURS[defect.target]  # type: ignore[index]
        case "jitter":
            centre_F2 += rng.normal(0.0, rng.uniform(1.2, 2.2), centre_F2.shape)
        case "freeze":
            centre_F2[late_F] = centre_F2[first - 1]
        case "flicker":
            opacity_F *= np.where((frame_F + rng.integers(2)) % 2, 1.0, rng.uniform(0.15, 0.45))
        case "pulse":
            radius_F *= 1 + rng.uniform(0.3, 0.45) * np.sin(frame_F * rng.uniform(1.6, 2.6))
        case "vanish":
            opacity_F[late_F] = 0.0
        case "smear":
            softness_F *= rng.uniform(4.0, 7.0)
            radius_F *= rng.uniform(0.7, 1.1, num_frames)
            opacity_F *= rng.uniform(0.4, 0.9)
    return Track(centre_F2, radius_F, opacity_F, softness_F, tuple(shapes), colours_F3)


def _paint(canvas_HW3: np.ndarray, track: Track, frame: int) -> None:
    distance_HW = signed_distance(
        track.shapes[frame], track.centre_F2[frame], track.radius_F[frame]
    )
    alpha_HW = (
        np.clip(0.5 - distance_HW / track.softness_F[frame], 0.0, 1.0) * track.opacity_F[frame]
    )
    canvas_HW3 += alpha_HW[..., None] * (track.colours_F3[frame] - canvas_HW3)


_Y_HW, _X_HW = np.mgrid[0:FRAME_SIZE, 0:FRAME_SIZE].astype(np.float32)
# Outward normals of an upright triangle (y grows downwards).
_TRIANGLE = ((0.0, 1.0), (0.866, -0.5), (-0.866, -0.5))


def signed_distance(shape: str, centre_2: np.ndarray, radius: float) -> np.ndarray:
    """Return each pixel's distance to the outline, float [H, W], negative inside."""
    x_HW, y_HW = _X_HW - centre_2[0], _Y_HW - centre_2[1]
    if shape == "circle":
        return np.hypot(x_HW, y_HW) - radius
    if shape == "square":
        return np.maximum(np.abs(x_HW), np.abs(y_HW)) - 0.9 * radius
    return np.max([a * x_HW + b * y_HW for a, b in _TRIANGLE], axis=0) - 0.66 * radius
