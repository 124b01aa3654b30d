"""What somebody sees in a clip, in words alone: from the ground truth, or from pixels.

The critic is pretrained on descriptions of the truth and the simulated annotators describe what
was measured; both go through `View`, so that both speak of the same things in the same words.

Left out: how sure the look was, and motions that differ between two things (the livelier counts).
"""

from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np

from dualipo.world.measurement import Measurement, ThingSeen
from dualipo.world.oracle import keeps
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
    Motion,
    Relation,
    Scene,
    Shape,
    Thing,
)

FAULT_BELOW = 0.5  # of the oracle's part from which a fault is seen
MIN_TRAVEL = 2.8  # pixels over the clip; less is rest
FAST_FROM = (TRAVEL["slow"][1] + TRAVEL["fast"][0]) / 2
MAX_TREMBLE = 0.75  # pixels around the path; more is jitter
MIN_STEP = 0.4  # pixels a frame of a thing that can freeze
MAX_STILL_STEP = 0.4  # pixels a frame of a frozen one
MAX_STRAY = 0.25

Name = TypeVar("Name", bound=str)


@dataclass(frozen=True, slots=True)
class View:
    """What is seen. `relation` is of the first of two things to the second; faults are defects'.

    `shape_change` and `colour_change` are (before, after), where a thing changes.
    """

    things: tuple[Thing, ...]
    background: Background
    motion: Motion | None
    relation: Relation | None = None
    faults: frozenset[DefectKind] = frozenset()
    shape_change: tuple[Shape, Shape] | None = None
    colour_change: tuple[Colour, Colour] | None = None


def view_of_truth(shown: Scene, defect: Defect | None, *, num_frames: int = 9) -> View:
    """What is to be seen in `clips.render(shown, defect=defect)`."""
    view = View(shown.things, shown.background, shown.motion, shown.relation)
    if defect is None:
        return view
    view = replace(view, faults=frozenset({defect.kind}))
    thing = shown.things[defect.thing]
    first = max(1, round(defect.start * num_frames))
    if defect.kind == "morph":
        view = replace(view, shape_change=(thing.shape, defect.target))  # type: ignore[arg-type]
        changed = replace(thing, shape=defect.target)  # type: ignore[arg-type]
    elif defect.kind == "recolour":
        view = replace(view, colour_change=(thing.colour, defect.target))  # type: ignore[arg-type]
        changed = replace(thing, colour=defect.target)  # type: ignore[arg-type]
    else:
        return view
    if 2 * first >= num_frames:  # a thing is called what it is for most of the clip
        return view
    things = tuple(changed if i == defect.thing else t for i, t in enumerate(shown.things))
    return replace(view, things=things)


def view_of_measurement(measurement: Measurement) -> View:
    """What is to be seen in a measured clip; no thing and no motion where nothing is clear."""
    seen = measurement.things
    if not seen:
        return View((), measurement.background, None)
    things = tuple(Thing(thing.colour, thing.shape, thing.size) for thing in seen)
    faults = frozenset[DefectKind]().union(*map(_faults, seen))
    if measurement.stray > MAX_STRAY:
        faults |= {"smear"}
    liveliest = max(seen, key=_travel)
    return View(
        things, measurement.background, _motion(liveliest),
        _relation(*seen) if len(seen) == 2 else None, faults,
        _change([t.shape_F3 for t in seen], SHAPES) if "morph" in faults else None,
        _change([t.colour_F6 for t in seen], tuple(COLOURS)) if "recolour" in faults else None,
    )  # fmt: skip


def _faults(thing: ThingSeen) -> set[DefectKind]:
    faults: set[DefectKind] = {k for k, kept in keeps(thing).items() if kept < FAULT_BELOW}  # type: ignore[misc]
    if "flicker" in faults:
        faults -= {"vanish"}  # frames in which it is too faint to be found
    if "smear" in faults:
        faults -= {"pulse", "morph"}  # neither can be told of a smear
    if _freezes(thing.path.step_S):
        faults |= {"freeze"}
    elif thing.path.residual > MAX_TREMBLE:
        faults |= {"jitter"}
    return faults


def _freezes(step_S: np.ndarray) -> bool:
    """A thing that moves by steady steps and stands for a quarter of them or more, in one run."""
    if len(step_S) < 3 or step_S.max() < MIN_STEP:
        return False
    still_S = step_S < min(0.3 * step_S.max(), MAX_STILL_STEP)
    run = longest = 0
    for still in still_S:
        run = run + 1 if still else 0
        longest = max(longest, run)
    return longest >= max(2, len(step_S) / 4)


def _travel(thing: ThingSeen) -> float:
    path = thing.path
    return float(max(np.linalg.norm(path.straight_2), np.linalg.norm(path.bounce_2)))


def _motion(thing: ThingSeen) -> Motion:
    path = thing.path
    straight, bounce = np.linalg.norm(path.straight_2), np.linalg.norm(path.bounce_2)
    if max(straight, bounce) < MIN_TRAVEL:
        return Motion("rest")
    if bounce > straight:
        return Motion("bounce", "left" if abs(path.bounce_2[0]) > abs(path.bounce_2[1]) else "up")
    along = {way: float(path.straight_2 @ np.asarray(axis)) for way, axis in DIRECTIONS.items()}
    way: Direction = max(along, key=lambda way: along[way])
    return Motion("move", way, "fast" if straight > FAST_FROM else "slow")


def _relation(first: ThingSeen, second: ThingSeen) -> Relation:
    first_2, second_2 = (each.centre_F2[each.seen_F].mean(axis=0) for each in (first, second))
    return max(RELATIONS, key=lambda r: float((first_2 - second_2) @ np.asarray(RELATIONS[r])))


def _change(share_of_things: list[np.ndarray], names: tuple[Name, ...]) -> tuple[Name, Name] | None:
    """What the first thing that changes is at the start and at the end, by a quarter's majority."""
    for share_FK in share_of_things:
        seen_FK = share_FK[share_FK.sum(axis=1) > 0]
        quarter = max(1, len(seen_FK) // 4)
        before = names[int(seen_FK[:quarter].sum(axis=0).argmax())]
        after = names[int(seen_FK[-quarter:].sum(axis=0).argmax())]
        if before != after:
            return before, after
    return None
