"""Tests that a description tells what the score says: which fault, how much of it, and when."""

import re

import numpy as np
import pytest

from dualipo.records import DIMENSIONS
from dualipo.world import annotators
from dualipo.world.clips import render
from dualipo.world.descriptions import DEGREES, describe
from dualipo.world.measurement import measure
from dualipo.world.oracle import parts
from dualipo.world.scenes import (
    DEFECTS,
    Defect,
    Figure,
    Motion,
    Scene,
    alter,
    draw_defect,
    draw_scene,
)
from dualipo.world.views import View, view_of_measurement

ONE = Scene((Figure("red", "circle", "small"),), Motion("move", "up", "fast"), "black")
TWO = Scene(
    (Figure("red", "circle", "small"), Figure("blue", "square", "small")),
    Motion("rest"), "gray", "left of",
)  # fmt: skip


NAMES = {"morph": "the shape changes", "recolour": "the colour changes", "smear": "smeared",
         "vanish": "vanishes", "jitter": "trembles"}  # fmt: skip
CLEAN = "seen 9, clear, sharp, true, size 4 to 4"


def _of_pixels(frames_FHW3: np.ndarray, dimension: str, asked: Scene) -> str:
    measurement = measure(frames_FHW3)
    view = view_of_measurement(measurement)
    scores = parts(measurement, asked, dimension)
    return describe(view, dimension, asked=asked, parts=scores)


@pytest.mark.parametrize(
    ("shown", "defect", "dimension", "asked", "text"),
    [
        (ONE, None, "consistency", ONE,
         "a small red circle on black. asked: a small red circle on black. all matches."),
        (TWO, None, "consistency", TWO,
         "a red circle left of a blue square on gray. asked: a red circle left of a blue square "
         "on gray. all matches."),
        (ONE, None, "consistency", Scene((Figure("blue", "square", "small"),), ONE.motion, "black"),
         "a small red circle on black. asked: a small blue square on black. "
         "the colour differs badly. the shape differs badly."),
        (TWO, None, "consistency", Scene(TWO.figures[::-1], TWO.motion, "gray", "right of"),
         "a blue square right of a red circle on gray. asked: a blue square right of a red circle "
         "on gray. all matches."),
        (ONE, None, "consistency", Scene(TWO.figures, TWO.motion, "black", "above"),
         "a small red circle on black. asked: a red circle above a blue square on black. "
         "the number differs."),
        (ONE, None, "faithfulness", ONE, f"{CLEAN}: all stays the same."),
        (TWO, None, "faithfulness", TWO, f"{CLEAN}: all stays the same."),
        (ONE, Defect("morph", 0, 0.5, "square"), "faithfulness", ONE,
         f"{CLEAN}: the shape changes badly, from circle to square at frame 5."),
        (ONE, Defect("recolour", 0, 0.5, "blue"), "faithfulness", ONE,
         f"{CLEAN}: the colour changes badly, from red to blue at frame 5."),
        (ONE, None, "motion", ONE,
         "path 2 6, 2 4, 2 2: it moves up fast. asked: it moves up fast. all matches."),
        (ONE, None, "motion", Scene(ONE.figures, Motion("move", "down", "fast"), "black"),
         "path 2 6, 2 4, 2 2: it moves up fast. asked: it moves down fast. "
         "the direction differs badly."),
        (TWO, None, "motion", TWO,
         "path 5 2, 5 2, 5 2: they stay still. asked: they stay still. all matches."),
    ],
)  # fmt: skip
def test_words(shown, defect, dimension, asked, text):
    frames_FHW3 = render(shown, np.random.default_rng(3), num_frames=9, defect=defect)
    assert _of_pixels(frames_FHW3, dimension, asked) == text


def test_nothing_clear_is_said_plainly():
    for dimension in DIMENSIONS:
        text = describe(View((), "black", None), dimension, asked=ONE, parts={})
        assert text == "nothing clear is visible."


def test_the_worst_fault_comes_first_and_its_degree_follows_the_score():
    view = View(ONE.figures, "black", ONE.motion)
    scores = {"pulse": 0.7, "vanish": 0.1, "smear": 0.5, "morph": 0.95}
    text = describe(view, "faithfulness", asked=ONE, parts=scores)
    assert text == "it vanishes badly. it is smeared clearly. the size pulses a little."
    words = [
        describe(view, "faithfulness", asked=ONE, parts={"pulse": score})
        for score in np.linspace(0, 1, 11)
    ]
    assert [len(re.findall(degree, " ".join(words))) for _, degree in DEGREES] == [3, 3, 3]


def test_of_two_figures_the_worse_part_is_told_once():
    view = View(TWO.figures, "gray", TWO.motion, "left of")
    scores = {"colour 0": 1.0, "colour 1": 0.1, "shape 0": 1.0, "shape 1": 1.0}
    text = describe(view, "consistency", asked=TWO, parts=scores)
    assert text.endswith("on gray. the colour differs badly.")


def test_a_mirrored_path_runs_the_other_way():
    to_right = Scene(ONE.figures, Motion("move", "right", "fast"), "black")
    frames_FHW3 = render(to_right, np.random.default_rng(3), num_frames=9)
    path, mirrored = (
        [place[0] for place in view_of_measurement(measure(frames)).path]
        for frames in (frames_FHW3, frames_FHW3[:, :, ::-1])
    )
    assert path == sorted(path) and path[0] < path[-1]
    assert mirrored == sorted(mirrored, reverse=True) and mirrored[0] > mirrored[-1]
    own = view_of_measurement(annotators._mirror(measure(frames_FHW3))).path
    assert [place[0] for place in own] == mirrored


@pytest.mark.slow
@pytest.mark.parametrize("kind", [kind for kind in DEFECTS if kind != "freeze"])
def test_a_drawn_defect_is_named(kind, blurred):
    # A defect of the painter is found in blurred pixels and named, in most clips.
    named = []
    for seed in range(60):
        rng = np.random.default_rng(seed)
        shown = draw_scene(rng)
        defect = draw_defect(rng, shown, kinds=(kind,))
        frames_FHW3 = blurred(render(shown, rng, defect=defect), seed=seed)
        texts = " ".join(_of_pixels(frames_FHW3, dimension, shown) for dimension in DIMENSIONS)
        named.append(NAMES.get(kind, f"{kind}s") in texts)
    assert np.mean(named) >= 0.75


def test_short_lower_case_facts_from_a_small_vocabulary():
    words = set()
    for seed in range(200):
        rng = np.random.default_rng(seed)
        shown = draw_scene(rng)
        frames_FHW3 = render(shown, rng, defect=draw_defect(rng, shown, kinds=DEFECTS))
        for dimension in DIMENSIONS:
            text = _of_pixels(frames_FHW3, dimension, alter(rng, shown))
            assert len(text.split()) <= 40 and re.fullmatch(r"[a-z0-9 ,.:]+\.", text), text
            words |= set(re.findall("[a-z]+", text))
    assert len(words) < 110
    grades_and_verdicts = {"good", "normal", "bad", "better", "worse", "best", "worst", "tie"}
    assert not words & grades_and_verdicts
