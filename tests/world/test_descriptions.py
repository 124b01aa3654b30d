"""Tests that the truth and the pixels are described in the same words, shortly and in facts."""

import re

import numpy as np
import pytest

from dualipo.records import DIMENSIONS
from dualipo.world.clips import render
from dualipo.world.descriptions import describe
from dualipo.world.measurement import measure
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
from dualipo.world.views import View, view_of_measurement, view_of_truth

ONE = Scene((Figure("red", "circle", "small"),), Motion("move", "up", "fast"), "black")
TWO = Scene(
    (Figure("red", "circle", "small"), Figure("blue", "square", "small")),
    Motion("rest"), "gray", "left of",
)  # fmt: skip


def _first(view: View, dimension: str, asked: Scene) -> str:
    """Return the first of the paraphrases."""

    class First(np.random.Generator):
        def integers(self, *_args, **_keywords):
            return 0

    return describe(view, dimension, asked=asked, rng=First(np.random.PCG64(0)))


@pytest.mark.parametrize(
    ("shown", "defect", "dimension", "asked", "text"),
    [
        (ONE, None, "consistency", ONE, "a small red circle on black. all matches."),
        (TWO, None, "consistency", TWO, "a red circle left of a blue square on gray. all matches."),
        (ONE, None, "consistency",
         Scene((Figure("blue", "square", "small"),), ONE.motion, "black"),
         "a small red circle on black. the colour and the shape differ."),
        (TWO, None, "consistency", Scene(TWO.figures[::-1], TWO.motion, "gray", "right of"),
         "a blue square right of a red circle on gray. all matches."),
        (ONE, None, "consistency", Scene(TWO.figures, TWO.motion, "black", "above"),
         "a small red circle on black. the number differs."),
        (ONE, None, "faithfulness", ONE, "it keeps its shape, colour and size."),
        (ONE, Defect("morph", 0, 0.5, "square"), "faithfulness", ONE,
         "the shape changes from circle to square."),
        (TWO, Defect("vanish", 1), "faithfulness", TWO, "one vanishes."),
        (ONE, None, "motion", ONE, "it moves up fast and smoothly, as asked."),
        (ONE, None, "motion", Scene(ONE.figures, Motion("move", "down", "fast"), "black"),
         "it moves up fast and smoothly, the caption asks for down."),
        (TWO, None, "motion", TWO, "they stay still, as asked."),
        (ONE, Defect("jitter"), "motion", ONE, "it jitters. it moves up fast, as asked."),
        (ONE, Defect("freeze"), "motion", ONE, "it freezes."),
    ],
)  # fmt: skip
def test_words(shown, defect, dimension, asked, text):
    assert _first(view_of_truth(shown, defect), dimension, asked) == text


def test_several_faults_are_joined_and_nothing_is_said_plainly():
    view = View(ONE.figures, "black", ONE.motion, faults=frozenset({"vanish", "recolour"}))
    assert _first(view, "faithfulness", ONE) == "it vanishes. the colour changes."
    for dimension in DIMENSIONS:
        assert _first(View((), "black", None), dimension, ONE) == "no clear object is visible."


@pytest.mark.slow
@pytest.mark.parametrize("kind", [None, *DEFECTS])
def test_pixels_and_truth_are_described_alike(kind, blurred):
    same = {dimension: [] for dimension in DIMENSIONS}
    for seed in range(80):
        rng = np.random.default_rng(seed)
        shown = draw_scene(rng)
        if kind == "freeze" and shown.motion.kind == "rest":
            continue
        defect = draw_defect(rng, shown, kinds=(kind,)) if kind else None
        frames_FHW3 = blurred(render(shown, rng, defect=defect), seed=seed)
        asked = alter(rng, shown) if rng.random() < 0.5 else shown
        truth, seen = view_of_truth(shown, defect), view_of_measurement(measure(frames_FHW3))
        for dimension in DIMENSIONS:
            texts = [_first(view, dimension, asked) for view in (truth, seen)]
            same[dimension].append(texts[0] == texts[1])
    assert np.mean(same["consistency"]) >= (0.85 if kind == "smear" else 0.95)
    assert np.mean(same["faithfulness"]) >= 0.95
    assert np.mean(same["motion"]) >= (0.7 if kind in ("jitter", "vanish") else 0.95)


def test_short_lower_case_facts_from_a_small_vocabulary():
    words = set()
    for seed in range(400):
        rng = np.random.default_rng(seed)
        shown = draw_scene(rng)
        view = view_of_truth(shown, draw_defect(rng, shown, kinds=DEFECTS))
        for dimension in DIMENSIONS:
            text = describe(view, dimension, asked=alter(rng, shown), rng=rng)
            assert len(text.split()) <= 20 and re.fullmatch(r"[a-z ,.]+\.", text)
            words |= set(re.findall("[a-z]+", text))
    assert len(words) < 110
    grades_and_verdicts = {"good", "normal", "bad", "better", "worse", "best", "worst", "tie"}
    assert not words & grades_and_verdicts
