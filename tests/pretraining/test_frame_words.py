"""Tests that a clip is described frame by frame as it was drawn, in words that have classes."""

import numpy as np
import pytest

from dualipo.pretraining import frame_words
from dualipo.world.clips import render
from dualipo.world.measurement import Measurement, measure
from dualipo.world.scenes import Defect, Figure, Motion, Scene

ONE = Scene((Figure("red", "circle", "big"),), Motion("rest"), "black")
TWO = Scene(
    (Figure("blue", "square", "small"), Figure("red", "circle", "small")),
    Motion("rest"), "gray", "left of",
)  # fmt: skip


def _measured(scene: Scene, defect: Defect | None = None) -> Measurement:
    return measure(render(scene, np.random.default_rng(3), num_frames=9, defect=defect))


@pytest.mark.parametrize(
    ("scene", "defect", "aspect", "words"),
    [
        (ONE, None, "shape", ["circle"] * 9),
        (ONE, Defect("recolour", 0, 0.5, "blue"), "colour", ["red"] * 4 + ["blue"] * 5),
        (ONE, None, "sight", ["clear"] * 9),
        (ONE, None, "edge", ["sharp"] * 9),
        (ONE, None, "form", ["true"] * 9),
    ],
)
def test_every_frame_has_its_word(scene, defect, aspect, words):
    assert frame_words.describe_frames(_measured(scene, defect), aspect) == " ".join(words) + "."


def test_places_are_counted_from_the_left_and_from_the_top():
    still = ONE.figures
    to_right = _measured(Scene(still, Motion("move", "right", "fast"), "black"))
    across, down = (
        [int(word) for word in frame_words.describe_frames(to_right, axis).strip(".").split()]
        for axis in ("across", "down")
    )
    assert across == sorted(across) and across[-1] - across[0] >= 3
    assert max(down) - min(down) <= 1
    upwards = _measured(Scene(still, Motion("move", "up", "fast"), "black"))
    rows = frame_words.describe_frames(upwards, "down").strip(".").split()
    assert rows == sorted(rows, reverse=True)


def test_of_two_figures_each_is_named_by_its_colour_in_the_worlds_order():
    text = frame_words.describe_frames(_measured(TWO), "shape")
    circles, squares = " ".join(["circle"] * 9), " ".join(["square"] * 9)
    assert text == f"red: {circles}. blue: {squares}."


def test_a_frame_without_the_figure_is_gone_and_a_clip_without_any_says_so():
    words = frame_words.describe_frames(_measured(ONE, Defect("vanish", 0)), "shape").split()
    assert words[0] == "circle" and "gone" in words
    empty = np.zeros((9, 32, 32, 3), np.uint8)
    assert frame_words.describe_frames(measure(empty), "shape") == "nothing clear is visible."
    drawn = {frame_words.draw_aspect(np.random.default_rng(n)) for n in range(60)}
    assert drawn == set(frame_words.ASPECTS)


def test_a_single_frame_is_described_by_its_word_of_every_aspect():
    measurement = _measured(TWO, Defect("vanish", 0))  # the blue figure vanishes
    assert "Frame 9: shape, colour" in frame_words.question_of_one(8)
    first, last = (frame_words.describe_one(measurement, frame) for frame in (0, 8))
    assert last.endswith("blue: gone.")
    for aspect in frame_words.ASPECTS:
        red, blue = frame_words.describe_frames(measurement, aspect).split(". ")
        for line, told in zip((red, blue), first.split(". "), strict=True):
            assert line.split()[1].rstrip(".") in told.rstrip(".").split()
    empty = np.zeros((9, 32, 32, 3), np.uint8)
    assert frame_words.describe_one(measure(empty), 0) == "nothing clear is visible."


@pytest.mark.parametrize("scene", [ONE, TWO])
def test_the_classes_are_those_of_the_words(scene):
    measurement = _measured(scene, Defect("vanish", 0))
    classes_FIA = frame_words.classes(measurement)
    for number, (name, aspect) in enumerate(frame_words.ASPECTS.items()):
        words = [*aspect.words, frame_words.GONE]
        told = frame_words.describe_frames(measurement, name).replace(":", " ").replace(".", " ")
        said = [word for word in told.split() if word in words][-9:]  # of the last figure
        for frame, word in enumerate(said):
            shown = [words[c] for c in classes_FIA[frame, :, number] if c < len(aspect.words)]
            assert (shown[-1] == word) if word != frame_words.GONE else len(shown) < 2
