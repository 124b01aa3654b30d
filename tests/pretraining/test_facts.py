"""Tests that a frame's facts are those of the clip that was drawn."""

import numpy as np
import pytest

from dualipo.pretraining.facts import PLACE, frame_facts, measurement_of
from dualipo.world.clips import FRAME_SIZE, render
from dualipo.world.measurement import measure
from dualipo.world.oracle import score_measurement
from dualipo.world.scenes import BACKGROUNDS, COLOURS, SHAPES, Defect, Figure, Motion, Scene

RED, BLUE = (tuple(COLOURS).index(colour) for colour in ("red", "blue"))
X, RADIUS = (PLACE.index(name) for name in ("x", "radius"))
SCENE = Scene(
    (Figure("red", "circle", "small"), Figure("blue", "square", "small")),
    Motion("move", "right", "slow"), "gray", "above",
)  # fmt: skip


def _facts(defect: Defect | None = None):
    measurement = measure(render(SCENE, np.random.default_rng(1), num_frames=9, defect=defect))
    return measurement, frame_facts(measurement)


def test_each_colours_row_tells_its_figure():
    measurement, facts = _facts()
    opacity_FK = facts.place_FKP[..., 0]
    assert (opacity_FK[:, [RED, BLUE]] > 0.9).all()
    assert not np.delete(opacity_FK, [RED, BLUE], axis=1).any()
    assert (np.diff(facts.place_FKP[:, RED, X]) > 0).all(), "the red circle moves to the right"
    assert (facts.shape_FKS[:, RED].argmax(-1) == SHAPES.index("circle")).all()
    assert (facts.shape_FKS[:, BLUE].argmax(-1) == SHAPES.index("square")).all()
    assert facts.background == tuple(BACKGROUNDS).index("gray")
    red = next(figure for figure in measurement.figures if figure.colour == "red")
    np.testing.assert_allclose(
        (facts.place_FKP[:, RED, X] + 0.5) * FRAME_SIZE, red.centre_F2[:, 0], atol=1e-4
    )
    np.testing.assert_allclose(facts.place_FKP[:, RED, RADIUS] * 8, red.radius_F, atol=1e-4)


def test_a_change_of_colour_moves_to_the_other_row_and_a_gone_figure_is_zero():
    _, changed = _facts(Defect("recolour", 0, 0.5, "green"))
    green = tuple(COLOURS).index("green")
    opacity_FK = changed.place_FKP[..., 0]
    assert opacity_FK[:3, RED].all() and not opacity_FK[:3, green].any()
    assert opacity_FK[-3:, green].all() and not opacity_FK[-3:, RED].any()
    _, gone = _facts(Defect("vanish", 1))
    absent = gone.place_FKP[:, BLUE, 0] == 0
    assert absent.any() and not gone.place_FKP[absent, BLUE].any()
    assert not gone.shape_FKS[absent, BLUE].any()


def test_facts_are_scored_as_the_clip_is():
    for defect in (None, Defect("morph", 0, 0.5, "square"), Defect("jitter", 0, 0.8)):
        measurement, facts = _facts(defect)
        own, read = (score_measurement(m, SCENE) for m in (measurement, measurement_of(facts)))
        for dimension in ("consistency", "faithfulness", "motion"):
            assert getattr(read, dimension) == pytest.approx(getattr(own, dimension), abs=0.05)
