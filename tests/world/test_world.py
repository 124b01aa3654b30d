"""Tests that scenes, captions, clips and the corpus are consistent with one another."""

from dataclasses import fields

import numpy as np
import pytest

from dualipo.world.captions import read, speak
from dualipo.world.clips import FRAME_SIZE, paths, render
from dualipo.world.corpus import DEFECT_SHARE, WRONG_CAPTION_SHARE, caption, real_clip, web_clip
from dualipo.world.scenes import (
    DEFECTS,
    RELATIONS,
    SIZES,
    TRAVEL,
    Scene,
    alter,
    draw_defect,
    draw_scene,
)


def _scenes(num: int) -> list[tuple[Scene, np.random.Generator]]:
    rngs = [np.random.default_rng(seed) for seed in range(num)]
    return [(draw_scene(rng), rng) for rng in rngs]


def _changed(old: object, new: object) -> list[str]:
    return [f.name for f in fields(old) if getattr(old, f.name) != getattr(new, f.name)]


def test_every_caption_reads_back_to_its_scene():
    for scene, rng in _scenes(1000):
        for _ in range(3):
            assert read(speak(scene, rng)) == scene


def test_other_texts_are_not_read():
    said = caption(0)
    for text in ("", "a dog runs", "a red circle", f"{said} on a black background", f"red {said}"):
        assert read(text) is None


def test_alter_changes_exactly_one_attribute():
    for scene, rng in _scenes(500):
        altered = alter(rng, scene)
        changed = _changed(scene, altered)
        assert len(changed) == 1
        if changed == ["figures"]:
            assert len(_changed(scene.figures[0], altered.figures[0])) == 1
            assert altered.figures[1:] == scene.figures[1:]


def test_figures_stay_inside_the_frame_and_go_where_the_scene_says():
    for scene, rng in _scenes(300):
        centres = paths(scene, rng, 9)
        for figure, centre_F2 in zip(scene.figures, centres, strict=True):
            reach = SIZES[figure.size]
            assert centre_F2.min() >= reach and centre_F2.max() <= FRAME_SIZE - 1 - reach
            travelled = np.linalg.norm(centre_F2[-1] - centre_F2[0])
            if scene.motion.kind == "move":
                low, high = TRAVEL[scene.motion.speed]
                assert low <= travelled <= high
            else:
                assert travelled < 1e-9
        if scene.relation:
            apart_2 = centres[0][0] - centres[1][0]
            assert np.array_equal(np.sign(np.round(apart_2, 6)), RELATIONS[scene.relation])


@pytest.mark.parametrize("kind", DEFECTS)
def test_a_defect_leaves_the_other_figure_as_it_is(kind):
    for scene, rng in _scenes(200):
        if not scene.relation or (kind == "freeze" and scene.motion.kind == "rest"):
            continue
        defect, seed = draw_defect(rng, scene, kinds=(kind,)), int(rng.integers(1 << 30))
        clean_FHW3 = render(scene, np.random.default_rng(seed))
        spoiled_FHW3 = render(scene, np.random.default_rng(seed), defect=defect)
        own_F2 = paths(scene, np.random.default_rng(seed), 9)[defect.figure]
        frame, y, x = np.nonzero((clean_FHW3 != spoiled_FHW3).any(axis=3))
        from_centre = np.hypot(x - own_F2[frame, 0], y - own_F2[frame, 1])
        assert len(from_centre) and (kind == "freeze" or from_centre.max() < 13)


def test_the_corpus_is_pure_and_as_noisy_as_it_says():
    clips = [web_clip(seed) for seed in range(400)]
    again = web_clip(7)
    assert np.array_equal(again.frames_FHW3, clips[7].frames_FHW3)
    assert again.caption == clips[7].caption
    wrong = [read(clip.caption) != clip.shown for clip in clips]
    assert abs(np.mean(wrong) - WRONG_CAPTION_SHARE) < 0.07
    assert abs(np.mean([clip.defect is not None for clip in clips]) - DEFECT_SHARE) < 0.08
    real = real_clip(3)
    assert read(real.caption) == real.shown
    assert real.frames_FHW3.dtype == np.uint8 and real.frames_FHW3.shape == (9, 32, 32, 3)
