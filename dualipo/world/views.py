"""Views: what somebody sees in a clip, in words alone, from the ground truth or from pixels.

The critic is pretrained on descriptions of the truth and the simulated annotators describe what
was measured; both go through `View`, so that both speak of the same figures in the same words.

Left out: the certainty of a view, and motions that differ between two figures (the livelier one
counts).
"""

from dataclasses import dataclass, replace
from typing import Any, TypeVar

import numpy as np

from dualipo.world.measurement import Measurement, SeenFigure
from dualipo.world.oracle import faithfulness_parts
from dualipo.world.scenes import (
    COLOURS,
    DIRECTIONS,
    RELATIONS,
    SHAPES,
    TRAVEL,
    Background,
    Colour,
    Defect,
    DefectKind,
    Direction,
    Figure,
    Motion,
    Relation,
    Scene,
    Shape,
)

FAULT_BELOW = 0.5  # a part of the oracle's score under this is a visible fault
MIN_TRAVEL = 2.8  # pixels over the clip; less is rest
FAST_FROM = (TRAVEL["slow"][1] + TRAVEL["fast"][0]) / 2
MAX_TREMBLE = 0.75  # pixels around the path; more is jitter
MIN_STEP = 0.4  # pixels a frame of a figure that can freeze
MAX_STILL_STEP = 0.4  # pixels a frame of a frozen one
MAX_STRAY = 0.25

Name = TypeVar("Name", bound=str)


@dataclass(frozen=True, slots=True)
class View:
    """The visible content of a clip; `relation` is that of the first figure to the second.

    `shape_change` and `colour_change` are (before, after), where a figure changes.
    """

    figures: tuple[Figure, ...]
    background: Background
    motion: Motion | None
    relation: Relation | None = None
    faults: frozenset[DefectKind] = frozenset()
    shape_change: tuple[Shape, Shape] | None = None
    colour_change: tuple[Colour, Colour] | None = None


def view_of_truth(shown: Scene, defect: Defect | None, *, num_frames: int = 9) -> View:
    """Return the view of the clip that `clips.render(shown, defect=defect)` draws."""
    view = View(shown.figures, shown.background, shown.motion, shown.relation)
    if defect is None:
        return view
    view = replace(view, faults=frozenset({defect.kind}))
    figure = shown.figures[defect.figure]
    first = max(1, round(defect.start * num_frames))
    if defect.kind == "morph":
        view = replace(view, shape_change=(figure.shape, defect.target))  # type: ignore[arg-type]
        changed = replace(figure, shape=defect.target)  # type: ignore[arg-type]
    elif defect.kind == "recolour":
        view = replace(view, colour_change=(figure.colour, defect.target))  # type: ignore[arg-type]
        changed = replace(figure, colour=defect.target)  # type: ignore[arg-type]
    else:
        return view
    if 2 * first >= num_frames:  # the view names what the figure is for most of the clip
        return view
    figures = tuple(changed if i == defect.figure else t for i, t in enumerate(shown.figures))
    return replace(view, figures=figures)


def view_of_measurement(measurement: Measurement) -> View:
    """Return the view of a measured clip; it has no figure and no motion where nothing is clear."""
    seen = measurement.figures
    if not seen:
        return View((), measurement.background, None)
    figures = tuple(Figure(figure.colour, figure.shape, figure.size) for figure in seen)
    faults = frozenset[DefectKind]().union(*map(_faults, seen))
    if measurement.stray > MAX_STRAY:
        faults |= {"smear"}
    liveliest = max(seen, key=_travel)
    return View(
        figures, measurement.background, _motion(liveliest),
        _relation(*seen) if len(seen) == 2 else None, faults,
        _change([t.shape_F3 for t in seen], SHAPES) if "morph" in faults else None,
        _change([t.colour_F6 for t in seen], tuple(COLOURS)) if "recolour" in faults else None,
    )  # fmt: skip


def _faults(figure: SeenFigure) -> set[DefectKind]:
    parts: Any = faithfulness_parts(figure)  # by the defect's name
    faults: set[DefectKind] = {kind for kind, part in parts.items() if part < FAULT_BELOW}
    if "flicker" in faults:
        faults -= {"vanish"}  # in some frames the figure is too faint to be seen
    if "smear" in faults:
        faults -= {"pulse", "morph"}  # a smear has neither a clear size nor a clear shape
    if _freezes(figure.path.step_S):
        faults |= {"freeze"}
    elif figure.path.residual > MAX_TREMBLE:
        faults |= {"jitter"}
    return faults


def _freezes(step_S: np.ndarray) -> bool:
    """Tell whether a moving figure stands still for one run of at least a quarter of its steps."""
    if len(step_S) < 3 or step_S.max() < MIN_STEP:
        return False
    still_S = step_S < min(0.3 * step_S.max(), MAX_STILL_STEP)
    run = longest = 0
    for still in still_S:
        run = run + 1 if still else 0
        longest = max(longest, run)
    return longest >= max(2, len(step_S) / 4)


def _travel(figure: SeenFigure) -> float:
    path = figure.path
    return float(max(np.linalg.norm(path.straight_2), np.linalg.norm(path.bounce_2)))


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


def _change(shares: list[np.ndarray], names: tuple[Name, ...]) -> tuple[Name, Name] | None:
    """Return the first changed figure's value in the clip's first and in its last quarter."""
    for share_FK in shares:
        seen_FK = share_FK[share_FK.sum(axis=1) > 0]
        quarter = max(1, len(seen_FK) // 4)
        before = names[int(seen_FK[:quarter].sum(axis=0).argmax())]
        after = names[int(seen_FK[-quarter:].sum(axis=0).argmax())]
        if before != after:
            return before, after
    return None
