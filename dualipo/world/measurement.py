"""Measures a clip from its pixels alone: figures with colour, shape, size and path.

A pixel is background + opacity * (colour - background), so the direction of its difference from
the background names the colour and its length the opacity. Foreground pixels are joined into
components, each is compared with templates of its own area and softness, and components are
linked over the frames. Made for blurry, smeared or empty clips as well as for clean ones.

    frames -> background colour -> opacity and colour of each pixel
           -> 4-connected components a frame, grown by the faint rim of their edges
           -> each component's centre, area, colour, edge width, and overlap with each shape
           -> tracks over the frames (nearest first, colour counts) -> figures and their paths

A limit: two figures of one colour that touch count as one figure.

Shape legend: F frames, H and W pixels, N components, 6 colours, 3 shapes (or colour channels).
"""

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from dualipo.errors import DataError
from dualipo.world.clips import FRAME_SIZE, signed_distance
from dualipo.world.scenes import (
    BACKGROUNDS,
    COLOURS,
    SHAPES,
    SIZES,
    Background,
    Colour,
    Shape,
    Size,
)

_PALETTE_63 = np.asarray(list(COLOURS.values()), np.float32)
_BACKGROUNDS_33 = np.asarray(list(BACKGROUNDS.values()), np.float32)
# Area / radius^2 and perimeter / radius of the shapes as `signed_distance` draws them.
AREA_3 = np.asarray([math.pi, 1.8**2, 3 * math.sqrt(3) * 0.66**2])
_PERIMETER_3 = np.asarray([2 * math.pi, 7.2, 6 * math.sqrt(3) * 0.66])

FOREGROUND = 0.2  # opacity from which a pixel belongs to a component
NOISE = 0.06  # opacity under which a pixel is background
MIN_MASS = 6.0  # pixels; smaller components are stray
MAX_COMPONENTS = 4  # a frame, the largest first
MIN_SEEN = 0.2  # share of the frames from which a track is a figure
MIN_FIGURE_AREA = 12.0
MAX_STEP = 12.0  # pixels between two frames of one track
SHAPE_TEMPERATURE = 0.015  # of the overlap, in the softmax over shapes


@dataclass(frozen=True)
class SeenFigure:
    """One figure over the frames; where `seen_F` is False the other arrays hold zeros."""

    seen_F: np.ndarray
    centre_F2: np.ndarray
    area_F: np.ndarray
    radius_F: np.ndarray
    opacity_F: np.ndarray
    softness_F: np.ndarray  # width of the edge in pixels, 1 where crisp
    colour_F6: np.ndarray  # share of each colour, sums to 1
    shape_F3: np.ndarray  # probability of each shape, sums to 1
    overlap_F: np.ndarray  # with the best shape's template, 1 where perfect

    @cached_property
    def colour(self) -> Colour:
        """The figure's most frequent colour."""
        return tuple(COLOURS)[int(self.colour_F6.sum(axis=0).argmax())]

    @cached_property
    def shape(self) -> Shape:
        """The figure's most probable shape."""
        return SHAPES[int(self.shape_F3.sum(axis=0).argmax())]

    @cached_property
    def radius(self) -> float:
        """The median radius in pixels."""
        return float(np.median(self.radius_F[self.seen_F]))

    @cached_property
    def size(self) -> Size:
        """The size whose radius is nearer by ratio."""
        return "small" if self.radius**2 < SIZES["small"] * SIZES["big"] else "big"

    @cached_property
    def path(self) -> "FittedPath":
        """The fitted path of the centre."""
        return _fit_path(self.centre_F2, self.seen_F)


@dataclass(frozen=True)
class FittedPath:
    """The path of a figure's centre over the whole clip, in pixels, as `_fit_path` fits it."""

    straight_2: np.ndarray  # displacement of the straight part
    bounce_2: np.ndarray  # displacement there and back
    residual: float  # root mean square distance from the fitted path
    step_S: np.ndarray  # pixels a frame between two frames in which it was seen


@dataclass(frozen=True)
class Measurement:
    """The figures seen in a clip, largest first; `stray` is the share of paint outside them."""

    background: Background
    background_3: np.ndarray
    figures: tuple[SeenFigure, ...]
    stray: float
    num_frames: int


def measure(frames_FHW3: np.ndarray) -> Measurement:
    """Measure a clip of the world's frame size, uint8 [F, 32, 32, 3]."""
    num_frames, *frame_shape = frames_FHW3.shape
    if frame_shape != [FRAME_SIZE, FRAME_SIZE, 3] or num_frames < 2:
        raise DataError(
            f"clip: its shape is {frames_FHW3.shape}, but the oracle measures [F, {FRAME_SIZE}, "
            f"{FRAME_SIZE}, 3] of 2 frames and more. Give it clips of the embedded world."
        )
    background_3 = _background(frames_FHW3)
    opacity_FHW, colour_FHW = _unmix(frames_FHW3, background_3)
    components = _components(opacity_FHW, colour_FHW)
    figures = figures_of(components, num_frames)
    whole = float(np.where(opacity_FHW > FOREGROUND, opacity_FHW, 0).sum())
    in_figures = sum(float((figure.area_F * figure.opacity_F).sum()) for figure in figures)
    stray = min(1.0, max(0.0, 1 - in_figures / whole)) if whole > 0 else 0.0
    nearest = int(np.square(_BACKGROUNDS_33 - background_3).sum(axis=1).argmin())
    background = tuple(BACKGROUNDS)[nearest]
    return Measurement(background, background_3, figures, stray, num_frames)


def figures_of(components: "Components", num_frames: int) -> tuple[SeenFigure, ...]:
    """Link components over the frames to figures, the largest first; small ones are stray."""
    tracks = [_figure(components, track, num_frames) for track in _link(components, num_frames)]
    figures = [track for track in tracks if _is_figure(track)]
    return tuple(sorted(figures, key=lambda figure: -float(figure.area_F.sum())))


def _background(frames_FHW3: np.ndarray) -> np.ndarray:
    inner_FHW = np.zeros(frames_FHW3.shape[:3], bool)
    inner_FHW[:, 2:-2, 2:-2] = True
    return np.median(frames_FHW3[~inner_FHW], axis=0).astype(np.float32)


def _unmix(frames_FHW3: np.ndarray, background_3: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return each pixel's opacity in [0, 1] and the index of its best colour."""
    towards_63 = _PALETTE_63 - background_3
    length_6 = np.maximum(np.linalg.norm(towards_63, axis=1), 60.0)
    along_FHW6 = (frames_FHW3 - background_3) @ (towards_63 / length_6[:, None]).T
    colour_FHW = along_FHW6.argmax(axis=-1)
    opacity_FHW = np.clip(along_FHW6.max(axis=-1) / length_6[colour_FHW], 0.0, 1.0)
    return np.where(opacity_FHW < NOISE, 0.0, opacity_FHW), colour_FHW


@dataclass(frozen=True)
class Components:
    """All components of all frames; every array has length N."""

    frame_N: np.ndarray
    centre_N2: np.ndarray
    area_N: np.ndarray
    radius_N: np.ndarray
    opacity_N: np.ndarray
    softness_N: np.ndarray
    colour_N6: np.ndarray
    shape_N3: np.ndarray
    overlap_N: np.ndarray


def _components(opacity_FHW: np.ndarray, colour_FHW: np.ndarray) -> Components:
    label_FHW, frame_N = _number(opacity_FHW)
    num = len(frame_N)
    frame, y, x = np.nonzero(label_FHW)
    index, weight = label_FHW[frame, y, x] - 1, opacity_FHW[frame, y, x]
    opacity_NHW = np.zeros((num, FRAME_SIZE, FRAME_SIZE))
    opacity_NHW[index, y, x] = weight
    colour_N6 = np.zeros((num, len(COLOURS)))
    np.add.at(colour_N6, (index, colour_FHW[frame, y, x]), weight)
    colour_N6 /= colour_N6.sum(axis=1, keepdims=True)
    top_N8 = np.partition(opacity_NHW.reshape(num, FRAME_SIZE**2), -8, axis=1)[:, -8:]
    opacity_N = top_N8.mean(axis=1)
    solid_NHW = np.clip(opacity_NHW / opacity_N[:, None, None], 0.0, 1.0)
    area_N = solid_NHW.sum(axis=(1, 2))
    grid_P = np.arange(FRAME_SIZE)
    x_N, y_N = solid_NHW.sum(axis=1) @ grid_P, solid_NHW.sum(axis=2) @ grid_P
    centre_N2 = np.stack([x_N, y_N], axis=1) / area_N[:, None]
    overlap_N3, softness_N3 = _compare(solid_NHW, centre_N2, area_N)
    shape_N3 = np.exp((overlap_N3 - overlap_N3.max(axis=1, keepdims=True)) / SHAPE_TEMPERATURE)
    shape_N3 /= shape_N3.sum(axis=1, keepdims=True)
    radius_N3 = np.sqrt(area_N[:, None] / AREA_3)
    return Components(
        frame_N, centre_N2, area_N, (shape_N3 * radius_N3).sum(axis=1), opacity_N,
        (shape_N3 * softness_N3).sum(axis=1), colour_N6, shape_N3, overlap_N3.max(axis=1),
    )  # fmt: skip


def _number(opacity_FHW: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Label the pixels of the kept components from 1; return them and each component's frame."""
    root_FHW = _join(opacity_FHW > FOREGROUND)
    mass = np.bincount(root_FHW.ravel(), weights=opacity_FHW.ravel(), minlength=root_FHW.size + 1)
    mass[0] = 0.0
    roots = np.flatnonzero(mass >= MIN_MASS)
    frame = (roots - 1) // FRAME_SIZE**2
    order = np.lexsort((-mass[roots], frame))
    rank = np.arange(len(roots)) - np.searchsorted(frame[order], frame[order])
    kept = order[rank < MAX_COMPONENTS]
    number = np.zeros(root_FHW.size + 1, int)
    number[roots[kept]] = np.arange(1, len(kept) + 1)
    label_FHW = number[root_FHW]
    rim_FHW = (label_FHW == 0) & (opacity_FHW > 0)  # the faint outer pixels of an edge
    return np.where(rim_FHW, _spread(_spread(label_FHW, 1), 2), label_FHW), frame[kept]


def _join(mask_FHW: np.ndarray) -> np.ndarray:
    """Label 4-connected pixels with the largest pixel number among them, 0 outside."""
    label_FHW = np.where(mask_FHW, np.arange(1, mask_FHW.size + 1).reshape(mask_FHW.shape), 0)
    while True:
        grown_FHW = np.maximum(_spread(label_FHW, 1), _spread(label_FHW, 2)) * mask_FHW
        # A label is itself a pixel of the component: jumping to its label halves the distance.
        grown_FHW = np.concatenate(([0], grown_FHW.ravel()))[grown_FHW]
        if np.array_equal(grown_FHW, label_FHW):
            return label_FHW
        label_FHW = grown_FHW


def _spread(label_FHW: np.ndarray, axis: int) -> np.ndarray:
    """Return the maximum of each pixel and its two neighbours along an axis."""
    spread = label_FHW.swapaxes(0, axis).copy()
    label = label_FHW.swapaxes(0, axis)
    np.maximum(spread[1:], label[:-1], out=spread[1:])
    np.maximum(spread[:-1], label[1:], out=spread[:-1])
    return spread.swapaxes(0, axis)


def _compare(
    solid_NHW: np.ndarray, centre_N2: np.ndarray, area_N: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return the overlap (soft IoU) with each shape's template, and the edge's width.

    A linear edge of width w adds w/6 to the sum of a(1-a) for each pixel of the perimeter.
    """
    radius_N3 = np.sqrt(area_N[:, None] / AREA_3)
    edge_N = (solid_NHW * (1 - solid_NHW)).sum(axis=(1, 2))
    softness_N3 = np.clip(6 * edge_N[:, None] / (radius_N3 * _PERIMETER_3), 0.7, 9.0)
    overlap_N3 = np.empty_like(radius_N3)
    for column, shape in enumerate(SHAPES):
        radius_N11 = radius_N3[:, column, None, None]
        distance_NHW = signed_distance(shape, centre_N2.T[..., None, None], radius_N11)
        template_NHW = np.clip(0.5 - distance_NHW / softness_N3[:, column, None, None], 0.0, 1.0)
        both_N = np.minimum(template_NHW, solid_NHW).sum(axis=(1, 2))
        overlap_N3[:, column] = both_N / (template_NHW.sum(axis=(1, 2)) + area_N - both_N)
    return overlap_N3, softness_N3


def _link(components: Components, num_frames: int) -> list[list[int]]:
    """Join components of neighbouring frames into tracks: nearest first, colour counts too."""
    tracks: list[list[int]] = []
    for f in range(num_frames):
        free: list[int] = np.flatnonzero(components.frame_N == f).tolist()
        last = [(t, track[-1]) for t, track in enumerate(tracks)]
        choices = sorted((_cost(components, m, n), t, n) for t, m in last for n in free)
        grown: set[int] = set()
        for cost, t, n in choices:
            if cost < MAX_STEP and t not in grown and n in free:
                tracks[t].append(n)
                grown.add(t)
                free.remove(n)
        tracks += [[n] for n in free]
    return tracks


def _cost(components: Components, last: int, following: int) -> float:
    apart = np.hypot(*(components.centre_N2[last] - components.centre_N2[following]))
    same_colour = np.minimum(components.colour_N6[last], components.colour_N6[following]).sum()
    return float(apart + 3.0 * (1 - same_colour))


def _figure(components: Components, track: list[int], num_frames: int) -> SeenFigure:
    frames = components.frame_N[track]

    def over_frames(values: np.ndarray) -> np.ndarray:
        filled = np.zeros((num_frames, *values.shape[1:]))
        filled[frames] = values[track]
        return filled

    return SeenFigure(
        over_frames(np.ones(len(components.frame_N))) > 0, over_frames(components.centre_N2),
        over_frames(components.area_N), over_frames(components.radius_N),
        over_frames(components.opacity_N), over_frames(components.softness_N),
        over_frames(components.colour_N6), over_frames(components.shape_N3),
        over_frames(components.overlap_N),
    )  # fmt: skip


def _is_figure(track: SeenFigure) -> bool:
    area = track.area_F[track.seen_F].mean()
    return bool(track.seen_F.mean() >= MIN_SEEN and area >= MIN_FIGURE_AREA)


def _fit_path(centre_F2: np.ndarray, seen_F: np.ndarray) -> FittedPath:
    """Fit start + t * straight + tent(t) * bounce by least squares, t from 0 to 1 over the clip.

    A figure that is not seen on both sides of the turn is fitted a straight path.
    """
    time_F = np.linspace(0.0, 1.0, len(seen_F))
    basis_F3 = np.stack([np.ones_like(time_F), time_F, 1 - np.abs(1 - 2 * time_F)], axis=1)
    turns = seen_F.sum() >= 4 and seen_F[time_F < 0.4].any() and seen_F[time_F > 0.6].any()
    basis_F = basis_F3 if turns else basis_F3[:, :2]
    fitted = np.linalg.lstsq(basis_F[seen_F], centre_F2[seen_F], rcond=None)[0]
    left_F2 = centre_F2[seen_F] - basis_F[seen_F] @ fitted
    bounce_2 = fitted[2] if len(fitted) == 3 else np.zeros(2)
    apart_S = np.linalg.norm(np.diff(centre_F2[seen_F], axis=0), axis=1)
    step_S = apart_S / np.diff(np.flatnonzero(seen_F))
    residual = float(np.sqrt(np.square(left_F2).sum(axis=1).mean()))
    return FittedPath(fitted[1], bounce_2, residual, step_S)
