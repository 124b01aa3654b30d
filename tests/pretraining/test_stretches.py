"""Tests that a clip is described frame by frame as it was drawn."""

import numpy as np
import pytest

from dualipo.pretraining import stretches
from dualipo.world.clips import render
from dualipo.world.measurement import Measurement, measure
from dualipo.world.scenes import Defect, Figure, Motion, Scene

ONE = Scene((Figure("red", "circle", "big"),), Motion("rest"), "black")
TWO = Scene(
    (Figure("red", "circle", "small"), Figure("blue", "square", "small")),
    Motion("rest"), "gray", "left of",
)  # fmt: skip


def _measured(scene: Scene, defect: Defect | None = None) -> Measurement:
    return measure(render(scene, np.random.default_rng(3), num_frames=9, defect=defect))


@pytest.mark.parametrize(
    ("scene", "defect", "aspect", "text"),
    [
        (ONE, None, "shape", "circle 1-9."),
        (ONE, Defect("recolour", 0, 0.5, "blue"), "colour", "red 1-4, blue 5-9."),
        (ONE, None, "sight", "clear 1-9."),
        (ONE, None, "edge", "sharp 1-9."),
        (ONE, None, "form", "true 1-9."),
    ],
)
def test_equal_frames_join_to_stretches(scene, defect, aspect, text):
    assert stretches.describe_frames(_measured(scene, defect), aspect) == text


def test_of_two_figures_each_is_named_by_its_colour():
    text = stretches.describe_frames(_measured(TWO), "shape")
    assert sorted(text.split(". ")) == ["blue: square 1-9.", "red: circle 1-9"] or sorted(
        text.split(". ")
    ) == ["blue: square 1-9", "red: circle 1-9."]


def test_a_frame_without_the_figure_is_gone_and_a_clip_without_any_says_so():
    text = stretches.describe_frames(_measured(ONE, Defect("vanish", 0)), "shape")
    assert "gone" in text and text.startswith("circle 1")
    empty = np.zeros((9, 32, 32, 3), np.uint8)
    assert stretches.describe_frames(measure(empty), "shape") == "nothing clear is visible."
    assert set(stretches.draw_aspect(np.random.default_rng(n)) for n in range(60)) == set(
        stretches.ASPECTS
    )
