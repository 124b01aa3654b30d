"""Scenes of the embedded world: what a clip shows, in words and numbers, before any pixel.

A `Scene` is the exact ground truth of a clip: one figure or two, their motion, the background.
A `Defect` is one way in which video models fail (METHOD.md says why they matter; FAULTS.md does
not: these are faults of the content, not of the program).

Left out on purpose: occlusion, perspective, texture. Scenes are drawn by `clips`, spoken by
`captions`, measured by `oracle`.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Literal, TypeVar

import numpy as np

Choice = TypeVar("Choice")

Colour = Literal["red", "green", "blue", "yellow", "cyan", "magenta"]
Shape = Literal["circle", "square", "triangle"]
Size = Literal["small", "big"]
Background = Literal["black", "gray", "brown"]
MotionKind = Literal["move", "rest", "bounce"]
Direction = Literal["left", "right", "up", "down"]
Speed = Literal["slow", "fast"]
Relation = Literal["left of", "right of", "above", "below"]
DefectKind = Literal["morph", "recolour", "jitter", "freeze", "flicker", "pulse", "vanish", "smear"]

COLOURS: dict[Colour, tuple[int, int, int]] = {
    "red": (220, 40, 40),
    "green": (40, 190, 60),
    "blue": (50, 80, 230),
    "yellow": (240, 215, 40),
    "cyan": (40, 210, 220),
    "magenta": (215, 60, 210),
}
BACKGROUNDS: dict[Background, tuple[int, int, int]] = {
    "black": (14, 14, 14),
    "gray": (80, 80, 80),
    "brown": (88, 52, 18),
}
SHAPES: tuple[Shape, ...] = ("circle", "square", "triangle")
SIZES: dict[Size, float] = {"small": 4.2, "big": 6.6}  # radius in pixels of a 32-pixel frame
DIRECTIONS: dict[Direction, tuple[int, int]] = {
    "left": (-1, 0),
    "right": (1, 0),
    "up": (0, -1),
    "down": (0, 1),
}
RELATIONS: dict[Relation, tuple[int, int]] = {
    "left of": (-1, 0),
    "right of": (1, 0),
    "above": (0, -1),
    "below": (0, 1),
}
# Pixels travelled over the whole clip, whatever its number of frames.
TRAVEL: dict[Speed, tuple[float, float]] = {"slow": (5.5, 7.5), "fast": (13.0, 16.0)}
BOUNCE_TRAVEL = (9.0, 12.0)

# The corpus has the first seven; "smear" is how a generator fails, and only the critic is shown it.
CORPUS_DEFECTS: tuple[DefectKind, ...] = (
    "morph", "recolour", "jitter", "freeze", "flicker", "pulse", "vanish",
)  # fmt: skip
DEFECTS: tuple[DefectKind, ...] = (*CORPUS_DEFECTS, "smear")


@dataclass(frozen=True, slots=True)
class Figure:
    """One coloured shape of a scene."""

    colour: Colour
    shape: Shape
    size: Size


@dataclass(frozen=True, slots=True)
class Motion:
    """The figures' movement; `direction` is None at rest, a bounce has an axis and no speed."""

    kind: MotionKind
    direction: Direction | None = None
    speed: Speed | None = None


@dataclass(frozen=True, slots=True)
class Scene:
    """The ground truth of a clip; of two figures, the first stands in `relation` to the second."""

    figures: tuple[Figure, ...]
    motion: Motion
    background: Background
    relation: Relation | None = None


@dataclass(frozen=True, slots=True)
class Defect:
    """A fault of the content, which begins at the share `start` of the clip.

    `figure` is the index of the spoiled figure; `target` names the new shape or colour of a morph
    or recolour.
    """

    kind: DefectKind
    figure: int = 0
    start: float = 0.5
    target: str | None = None


def pick(rng: np.random.Generator, choices: Iterable[Choice]) -> Choice:
    """Draw one of the choices."""
    options = list(choices)
    return options[int(rng.integers(len(options)))]


def draw_scene(rng: np.random.Generator, *, two_share: float = 0.25) -> Scene:
    """Draw a scene; the share `two_share` of them holds two figures."""
    if rng.random() < two_share:
        return _draw_pair_scene(rng)
    figure = Figure(pick(rng, COLOURS), pick(rng, SHAPES), pick(rng, SIZES))
    return Scene((figure,), draw_motion(rng), pick(rng, BACKGROUNDS))


def draw_motion(rng: np.random.Generator) -> Motion:
    """Draw a motion of a single figure: 60 % move, 15 % rest, 25 % bounce."""
    kind = rng.random()
    if kind < 0.6:
        return Motion("move", pick(rng, DIRECTIONS), pick(rng, TRAVEL))
    if kind < 0.75:
        return Motion("rest")
    return Motion("bounce", pick(rng, ("left", "up")))


def _draw_pair_scene(rng: np.random.Generator) -> Scene:
    first: Colour = pick(rng, COLOURS)
    second: Colour = pick(rng, [colour for colour in COLOURS if colour != first])
    figures = tuple(Figure(colour, pick(rng, SHAPES), "small") for colour in (first, second))
    relation: Relation = pick(rng, RELATIONS)
    across: tuple[Direction, Direction] = (
        ("up", "down") if RELATIONS[relation][0] else ("left", "right")
    )
    still = rng.random() < 0.3
    motion = Motion("rest") if still else Motion("move", pick(rng, across), pick(rng, TRAVEL))
    return Scene(figures, motion, pick(rng, BACKGROUNDS), relation)


def draw_defect(
    rng: np.random.Generator, scene: Scene, *, kinds: tuple[DefectKind, ...] = CORPUS_DEFECTS
) -> Defect:
    """Draw a defect that is visible in this scene (a figure at rest cannot freeze)."""
    visible = [k for k in kinds if not (k == "freeze" and scene.motion.kind == "rest")]
    kind: DefectKind = pick(rng, visible)
    index = int(rng.integers(len(scene.figures)))
    figure = scene.figures[index]
    target: str | None = None
    if kind == "morph":
        target = pick(rng, [s for s in SHAPES if s != figure.shape])
    if kind == "recolour":
        taken = {each.colour for each in scene.figures}
        target = pick(rng, [c for c in COLOURS if c not in taken])
    return Defect(kind, index, float(rng.uniform(0.25, 0.65)), target)


def alter(rng: np.random.Generator, scene: Scene) -> Scene:
    """Return the scene with exactly one attribute changed (what a wrong caption says)."""
    figure = scene.figures[0]
    attributes = [
        "colour",
        "shape",
        "background",
        "motion",
        "relation" if scene.relation else "size",
    ]
    attribute = pick(rng, attributes)
    if attribute == "background":
        return replace(scene, background=_other(rng, BACKGROUNDS, scene.background))
    if attribute == "relation":
        return replace(scene, relation=_other(rng, RELATIONS, scene.relation))
    if attribute == "motion":
        return replace(scene, motion=other_motion(rng, scene))
    if attribute == "colour":
        taken = {each.colour for each in scene.figures}
        colour = pick(rng, [c for c in COLOURS if c not in taken])
        changed = replace(figure, colour=colour)
    elif attribute == "shape":
        changed = replace(figure, shape=_other(rng, SHAPES, figure.shape))
    else:
        changed = replace(figure, size=_other(rng, SIZES, figure.size))
    return replace(scene, figures=(changed, *scene.figures[1:]))


def _other(rng: np.random.Generator, choices: Iterable[Choice], present: Choice | None) -> Choice:
    return pick(rng, [choice for choice in choices if choice != present])


def other_motion(rng: np.random.Generator, scene: Scene) -> Motion:
    """Draw a motion that differs from the scene's."""
    while True:
        motion = draw_motion(rng) if not scene.relation else _draw_pair_scene(rng).motion
        if motion != scene.motion:
            return motion
