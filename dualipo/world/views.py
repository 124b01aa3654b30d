"""Views: what somebody sees in a clip, in words alone.

The critic is pretrained on descriptions of views, and the simulated annotators describe views, so
that both speak of the same figures in the same words.

Left out: the certainty of a view, and motions that differ between two figures (the livelier one
counts).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from dualipo.world.clips import FRAME_SIZE
from dualipo.world.measurement import Measurement, SeenFigure
from dualipo.world.oracle import combine, faithfulness_parts
from dualipo.world.scenes import (
    COLOURS,
    DIRECTIONS,
    RELATIONS,
    SHAPES,
    TRAVEL,
    Background,
    Direction,
    Figure,
    Motion,
    Relation,
)

CELLS = 8  # from left to right, and from top to bottom
SIGHTS = ("faint", "pale", "clear")
EDGES = ("sharp", "soft", "smeared")
FORMS = ("odd", "rough", "true")
MIN_TRAVEL = 2.8  # pixels over the clip; less is rest
FAST_FROM = (TRAVEL["slow"][1] + TRAVEL["fast"][0]) / 2


@dataclass(frozen=True, slots=True)
class Change:
    """A shape or colour before and after a change; `frame` is the first of the new one, from 1."""

    before: str
    after: str
    frame: int


@dataclass(frozen=True, slots=True)
class Look:
    """How a figure looks: in how many frames it is seen, how well, and its sizes in pixels."""

    num_seen: int
    sight: str
    edge: str
    form: str
    smallest: int
    largest: int


@dataclass(frozen=True, slots=True)
class View:
    """The visible content of a clip; `relation` is that of the first figure to the second.

    `path` has the cells, across and down, where the figure that travels furthest is first seen,
    halfway, and last; `look` is that of the figure that keeps its looks worst.
    """

    figures: tuple[Figure, ...]
    background: Background
    motion: Motion | None
    relation: Relation | None = None
    path: tuple[tuple[int, int], ...] = ()
    look: Look | None = None
    shape_change: Change | None = None
    colour_change: Change | None = None


def view_of_measurement(measurement: Measurement) -> View:
    """Return the view of a measured clip; it has no figure and no motion where nothing is clear."""
    seen = measurement.figures
    if not seen:
        return View((), measurement.background, None)
    livelier = max(seen, key=_travel)
    worse = min(seen, key=lambda figure: combine(faithfulness_parts(figure)))
    return View(
        figures=tuple(Figure(figure.colour, figure.shape, figure.size) for figure in seen),
        background=measurement.background,
        motion=_motion(livelier),
        path=_path(livelier),
        look=_look(worse),
        relation=_relation(*seen) if len(seen) == 2 else None,
        shape_change=_change([figure.shape_F3 for figure in seen], SHAPES),
        colour_change=_change([figure.colour_F6 for figure in seen], tuple(COLOURS)),
    )


def _travel(figure: SeenFigure) -> float:
    path = figure.path
    return float(max(np.linalg.norm(path.straight_2), np.linalg.norm(path.bounce_2)))


def cell(pixels: float) -> int:
    """Return the cell of a place, counted from the left or from the top."""
    return min(max(int(pixels * CELLS / FRAME_SIZE), 0), CELLS - 1)


def sight(opacity: float) -> str:
    """Name how opaque a figure is."""
    return SIGHTS[int(opacity >= 0.5) + int(opacity >= 0.85)]


def edge(softness: float) -> str:
    """Name how wide a figure's edge is."""
    return EDGES[int(softness >= 2.4) + int(softness >= 4.0)]


def form(overlap: float) -> str:
    """Name how well a figure fits the best shape."""
    return FORMS[int(overlap >= 0.75) + int(overlap >= 0.85)]


def _path(figure: SeenFigure) -> tuple[tuple[int, int], ...]:
    seen = np.flatnonzero(figure.seen_F)
    centre_32 = figure.centre_F2[seen[[0, len(seen) // 2, -1]]]
    return tuple((cell(x), cell(y)) for x, y in centre_32)


def _look(figure: SeenFigure) -> Look:
    radius_S = figure.radius_F[figure.seen_F]
    return Look(
        num_seen=int(figure.seen_F.sum()),
        sight=sight(float(np.quantile(figure.opacity_F[figure.seen_F], 0.75))),
        edge=edge(float(np.median(figure.softness_F[figure.seen_F]))),
        form=form(float(figure.overlap_F[figure.seen_F].mean())),
        smallest=round(float(radius_S.min())),
        largest=round(float(radius_S.max())),
    )


def _motion(figure: SeenFigure) -> Motion:
    path = figure.path
    straight, bounce = np.linalg.norm(path.straight_2), np.linalg.norm(path.bounce_2)
    if max(straight, bounce) < MIN_TRAVEL:
        return Motion("rest")
    if bounce > straight:
        return Motion("bounce", "left" if abs(path.bounce_2[0]) > abs(path.bounce_2[1]) else "up")
    along = {way: float(path.straight_2 @ np.asarray(axis)) for way, axis in DIRECTIONS.items()}
    way: Direction = max(along, key=lambda way: along[way])
    return Motion("move", way, "fast" if straight > FAST_FROM else "slow")


def _relation(first: SeenFigure, second: SeenFigure) -> Relation:
    first_2, second_2 = (each.centre_F2[each.seen_F].mean(axis=0) for each in (first, second))
    return max(RELATIONS, key=lambda r: float((first_2 - second_2) @ np.asarray(RELATIONS[r])))


def _change(shares: list[np.ndarray], names: Sequence[str]) -> Change | None:
    """Find the first figure whose majority differs between its first and last quarter, and when."""
    for share_FK in shares:
        seen = np.flatnonzero(share_FK.sum(axis=1) > 0)
        share_SK = share_FK[seen]
        quarter = max(1, len(seen) // 4)
        before = int(share_SK[:quarter].sum(axis=0).argmax())
        after = int(share_SK[-quarter:].sum(axis=0).argmax())
        if before != after:
            first = seen[_first_after(share_SK[:, after] - share_SK[:, before])]
            return Change(names[before], names[after], int(first) + 1)
    return None


def _first_after(lead_S: np.ndarray) -> int:
    """Return the cut that leaves most of the old value before it and of the new one behind it."""
    cuts = [lead_S[cut:].sum() - lead_S[:cut].sum() for cut in range(1, len(lead_S))]
    return 1 + int(np.argmax(cuts))
