"""Writes what is measured in each frame as the numbers that the critic's tower learns to read.

For each colour of the world they tell whether a figure of that colour is there, where, how big, how
soft its edge is, how well its best shape fits, and which shape it has. They come from the
measurement (`dualipo.world.measurement`) that the oracle uses too. They are facts, no preferences.
`measurement_of` turns facts back, so that what a tower reads can be scored as the oracle scores.

Legend: F frames, K = 6 colours, P = 6 numbers, S = 3 shapes.
"""

from dataclasses import dataclass

import numpy as np

from dualipo.pretraining import frame_words
from dualipo.world.clips import FRAME_SIZE
from dualipo.world.measurement import AREA_3, Components, Measurement, figures_of
from dualipo.world.scenes import BACKGROUNDS, COLOURS, SHAPES

PLACE = ("opacity", "x", "y", "radius", "softness", "overlap")
_RADIUS_UNIT = 8.0  # pixels
_SOFTNESS_UNIT = 4.0  # pixels
_LEAST_OPACITY = 0.3  # from which what a tower reads is a figure; facts are never between 0 and it


@dataclass(frozen=True)
class FrameFacts:
    """The facts of a clip's frames; where no figure of a colour is there, its rows are zero.

    `words_FIA` has the numbers of the words that hold in each frame (`frame_words.classes`).
    """

    place_FKP: np.ndarray
    shape_FKS: np.ndarray
    background: int
    words_FIA: np.ndarray


def frame_facts(measurement: Measurement) -> FrameFacts:
    """Write a measurement as numbers; of two figures of a colour the larger counts."""
    num_frames = measurement.num_frames
    place_FKP = np.zeros((num_frames, len(COLOURS), len(PLACE)), np.float32)
    shape_FKS = np.zeros((num_frames, len(COLOURS), len(SHAPES)), np.float32)
    for figure in reversed(measurement.figures):  # sorted by area: the largest is written last
        centre_F2 = figure.centre_F2 / FRAME_SIZE - 0.5
        numbers_FP = np.stack(
            [
                figure.opacity_F,
                centre_F2[:, 0],
                centre_F2[:, 1],
                figure.radius_F / _RADIUS_UNIT,
                figure.softness_F / _SOFTNESS_UNIT,
                figure.overlap_F,
            ],
            axis=1,
        )
        seen = np.flatnonzero(figure.seen_F)
        colours = figure.colour_F6[seen].argmax(axis=1)
        place_FKP[seen, colours] = numbers_FP[seen]
        shape_FKS[seen, colours] = figure.shape_F3[seen]
    background = tuple(BACKGROUNDS).index(measurement.background)
    return FrameFacts(place_FKP, shape_FKS, background, frame_words.classes(measurement))


def measurement_of(facts: FrameFacts) -> Measurement:
    """Return the measurement that facts stand for; they may be a tower's own reading.

    A figure has the colour of its row alone, and nothing is stray.
    """
    num_frames = len(facts.place_FKP)
    frame_N, colour_N = np.nonzero(facts.place_FKP[..., 0] > _LEAST_OPACITY)
    place_NP = facts.place_FKP[frame_N, colour_N].astype(np.float64)
    shape_NS = facts.shape_FKS[frame_N, colour_N].astype(np.float64)
    opacity_N, x_N, y_N, radius_N, softness_N, overlap_N = place_NP.T
    radius_N = np.clip(radius_N * _RADIUS_UNIT, 1.0, FRAME_SIZE / 2)
    components = Components(
        frame_N=frame_N,
        centre_N2=(np.stack([x_N, y_N], axis=1) + 0.5) * FRAME_SIZE,
        area_N=shape_NS @ AREA_3 * radius_N**2,
        radius_N=radius_N,
        opacity_N=np.clip(opacity_N, 0.0, 1.0),
        softness_N=np.clip(softness_N * _SOFTNESS_UNIT, 0.7, 9.0),
        colour_N6=np.eye(len(COLOURS))[colour_N],
        shape_N3=shape_NS,
        overlap_N=np.clip(overlap_N, 0.0, 1.0),
    )
    background = tuple(BACKGROUNDS)[facts.background]
    return Measurement(
        background=background,
        background_3=np.asarray(BACKGROUNDS[background], np.float64),
        figures=figures_of(components, num_frames),
        stray=0.0,
        num_frames=num_frames,
    )
