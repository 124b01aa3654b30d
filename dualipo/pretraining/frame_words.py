"""Describes a clip frame by frame, in the words whose classes the tower learns to see.

An aspect of a figure is one word a frame: "circle circle circle triangle triangle." A frame in
which the figure is not measured is "gone". Of two figures each line begins with its colour, and
figures stand in the order of the world's colours.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from dualipo.world.descriptions import NOTHING
from dualipo.world.measurement import Measurement, SeenFigure
from dualipo.world.scenes import COLOURS, SHAPES
from dualipo.world.views import CELLS, EDGES, FORMS, SIGHTS, cell, edge, form, sight

MAX_FIGURES = 2
GONE = "gone"


@dataclass(frozen=True)
class Aspect:
    """The words of an aspect, and the number of the one that holds for a figure in a frame."""

    words: tuple[str, ...]
    of: Callable[[SeenFigure, int], int]


def _size(figure: SeenFigure, frame: int) -> int:
    return min(max(round(float(figure.radius_F[frame])), _SIZES[0]), _SIZES[-1]) - _SIZES[0]


_SIZES = range(2, 11)  # pixels of the radius

ASPECTS: dict[str, Aspect] = {
    "shape": Aspect(SHAPES, lambda figure, f: int(figure.shape_F3[f].argmax())),
    "colour": Aspect(tuple(COLOURS), lambda figure, f: int(figure.colour_F6[f].argmax())),
    "size": Aspect(tuple(map(str, _SIZES)), _size),
    "across": Aspect(tuple(map(str, range(CELLS))), lambda figure, f: cell(figure.centre_F2[f, 0])),
    "down": Aspect(tuple(map(str, range(CELLS))), lambda figure, f: cell(figure.centre_F2[f, 1])),
    "sight": Aspect(SIGHTS, lambda figure, f: SIGHTS.index(sight(figure.opacity_F[f]))),
    "edge": Aspect(EDGES, lambda figure, f: EDGES.index(edge(figure.softness_F[f]))),
    "form": Aspect(FORMS, lambda figure, f: FORMS.index(form(figure.overlap_F[f]))),
}


def figures(measurement: Measurement) -> list[SeenFigure]:
    """Return the largest figures, at most two, in the order of their colours."""
    order = tuple(COLOURS)
    largest = measurement.figures[:MAX_FIGURES]
    return sorted(largest, key=lambda figure: order.index(figure.colour))


def classes(measurement: Measurement) -> np.ndarray:
    """Return the number of every aspect's word, [frame, place, aspect]; `gone` is the last number.

    The figures that are seen in a frame take the places in their order.
    """
    gone = [len(aspect.words) for aspect in ASPECTS.values()]
    classes_FIA = np.tile(np.array(gone, np.int64), (measurement.num_frames, MAX_FIGURES, 1))
    for frame in range(measurement.num_frames):
        seen = [figure for figure in figures(measurement) if figure.seen_F[frame]]
        for place, figure in enumerate(seen):
            classes_FIA[frame, place] = [each.of(figure, frame) for each in ASPECTS.values()]
    return classes_FIA


def question(aspect: str) -> str:
    """Ask for an aspect of every frame."""
    return f"Frame by frame: {aspect}."


def describe_frames(measurement: Measurement, aspect: str) -> str:
    """Describe an aspect of at most two figures, one word a frame."""
    return _spoken(measurement, lambda figure: _words(figure, ASPECTS[aspect]))


def _spoken(measurement: Measurement, words_of: Callable[[SeenFigure], list[str]]) -> str:
    seen = figures(measurement)
    if not seen:
        return NOTHING
    lines = [" ".join(words_of(figure)) for figure in seen]
    if len(lines) == 1:
        return f"{lines[0]}."
    return " ".join(f"{t.colour}: {line}." for t, line in zip(seen, lines, strict=True))


def _words(figure: SeenFigure, aspect: Aspect) -> list[str]:
    frames = enumerate(figure.seen_F)
    return [aspect.words[aspect.of(figure, f)] if seen else GONE for f, seen in frames]


def question_of_one(frame: int) -> str:
    """Ask for all aspects of one frame, counted from 0; the prompt counts frames from 1."""
    return f"Frame {frame + 1}: {', '.join(ASPECTS)}."


def describe_one(measurement: Measurement, frame: int) -> str:
    """Describe all aspects of at most two figures in one frame, counted from 0."""
    return _spoken(measurement, lambda figure: _of_frame(figure, frame))


def _of_frame(figure: SeenFigure, frame: int) -> list[str]:
    if not figure.seen_F[frame]:
        return [GONE]
    return [aspect.words[aspect.of(figure, frame)] for aspect in ASPECTS.values()]


def draw_aspect(rng: np.random.Generator) -> str:
    """Draw one of the aspects."""
    return tuple(ASPECTS)[int(rng.integers(len(ASPECTS)))]
