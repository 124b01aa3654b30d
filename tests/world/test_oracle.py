"""Tests the oracle: clean clips score 1, each fault lowers its own part alone."""

import time

import numpy as np
import pytest

from dualipo.errors import DataError
from dualipo.records import DIMENSIONS
from dualipo.world.captions import read, speak
from dualipo.world.clips import paths, render
from dualipo.world.corpus import real_clip
from dualipo.world.measurement import measure
from dualipo.world.oracle import OracleScore, score, score_measurement
from dualipo.world.scenes import DEFECTS, alter, draw_defect, draw_scene

FAITHFULNESS, MOTION = 1, 2
BROKEN_BY = {kind: MOTION if kind in ("jitter", "freeze") else FAITHFULNESS for kind in DEFECTS}


def _table(scores: list[OracleScore]) -> np.ndarray:
    """Return the scores as an array [clips, 3 dimensions]."""
    return np.array([[getattr(each, dimension) for dimension in DIMENSIONS] for each in scores])


@pytest.fixture(scope="module")
def clips():
    return [real_clip(seed) for seed in range(500)]


@pytest.mark.slow
def test_clean_clips_score_one(clips):
    table = _table([score(clip.frames_FHW3, clip.caption) for clip in clips])
    assert (table.mean(axis=0) >= 0.97).all()
    assert (np.quantile(table, 0.05, axis=0) >= 0.9).all()


@pytest.mark.slow
def test_mild_blur_and_noise_cost_little(clips, blurred):
    table = _table(
        [score(blurred(c.frames_FHW3, seed=n), c.caption) for n, c in enumerate(clips[:200])]
    )
    assert (table.mean(axis=0) >= 0.93).all()


@pytest.mark.slow
@pytest.mark.parametrize("kind", DEFECTS)
def test_a_defect_lowers_its_own_part(kind, blurred):
    clean, spoiled = [], []
    for seed in range(100):
        rng = np.random.default_rng(seed)
        scene = draw_scene(rng)
        if kind == "freeze" and scene.motion.kind == "rest":
            continue
        clean.append(score_measurement(measure(render(scene, rng)), scene))
        defect = draw_defect(rng, scene, kinds=(kind,))
        frames_FHW3 = blurred(render(scene, rng, defect=defect), seed=seed)
        spoiled.append(score_measurement(measure(frames_FHW3), scene))
    before, after = _table(clean).mean(axis=0), _table(spoiled).mean(axis=0)
    assert after[BROKEN_BY[kind]] < 0.6 < 0.97 < before[BROKEN_BY[kind]]
    if kind != "vanish":  # what has vanished no longer moves
        assert after[3 - BROKEN_BY[kind]] > 0.9


@pytest.mark.slow
def test_a_wrong_caption_lowers_consistency_or_motion_alone():
    consistency, motion = [], []
    for seed in range(300):
        rng = np.random.default_rng(seed)
        scene = draw_scene(rng)
        asked = alter(rng, scene)
        scores = score(render(scene, rng), speak(asked, rng))
        wrong, right = scores.consistency, scores.motion
        if asked.motion != scene.motion:
            wrong, right = right, wrong
            motion.append(wrong)
        else:
            consistency.append(wrong)
        assert right > 0.9 and scores.faithfulness > 0.9 and wrong < 0.75
    assert np.mean(consistency) < 0.6 and np.mean(motion) < 0.6


def test_centres_are_measured_to_a_fraction_of_a_pixel():
    for seed in range(100):
        scene = draw_scene(np.random.default_rng(seed), two_share=0.0)
        true_F2 = paths(scene, np.random.default_rng(seed), 9)[0]
        figure = measure(render(scene, np.random.default_rng(seed))).figures[0]
        assert np.abs(figure.centre_F2 - true_F2).max() < 0.2


@pytest.mark.slow
@pytest.mark.parametrize("num_frames", [5, 8, 9, 17])
def test_any_number_of_frames(num_frames):
    clips = [real_clip(seed, num_frames=num_frames) for seed in range(60)]
    table = _table([score(clip.frames_FHW3, clip.caption) for clip in clips])
    assert (table.mean(axis=0) > 0.95).all()


def test_nothing_noise_and_shuffled_frames(clips):
    rng = np.random.default_rng(0)
    clip = next(clip for clip in clips if clip.shown.motion.kind == "move")
    empty = score(np.zeros((9, 32, 32, 3), np.uint8), clip.caption)
    assert empty.faithfulness == empty.motion == 0 and empty.consistency < 0.1
    noise = score(rng.integers(0, 256, (9, 32, 32, 3), dtype=np.uint8), clip.caption)
    assert noise.total < 0.3
    shuffled = score(rng.permutation(clip.frames_FHW3), clip.caption)
    assert shuffled.consistency > 0.9 and shuffled.motion < 0.4


def test_what_cannot_be_measured_is_refused(clips):
    with pytest.raises(DataError, match="not in the embedded world's grammar"):
        score(clips[0].frames_FHW3, "a dog runs")
    with pytest.raises(DataError, match="2 frames and more"):
        score(clips[0].frames_FHW3[:1], clips[0].caption)
    with pytest.raises(DataError, match="the oracle measures"):
        score(clips[0].frames_FHW3[:, ::2], clips[0].caption)


def test_a_clip_takes_milliseconds(clips):
    scenes = [(clip.frames_FHW3, read(clip.caption)) for clip in clips[:50]]
    start = time.process_time()
    for frames_FHW3, scene in scenes:
        score_measurement(measure(frames_FHW3), scene)
    assert (time.process_time() - start) / 50 < 0.02
