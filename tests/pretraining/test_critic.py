"""Tests that the critic is pretrained to describe, and never sees a preference or a verdict."""

import re

import numpy as np
import pytest

from dualipo.cli import weights
from dualipo.critic import reasoning
from dualipo.pretraining import critic, settings, sight
from dualipo.pretraining.degradation import degrade
from dualipo.pretraining.generated import GeneratedClips
from dualipo.records import DIMENSIONS
from dualipo.world.measurement import measure
from dualipo.world.views import view_of_measurement


@pytest.fixture(scope="module")
def examples() -> list[critic.Example]:
    return [critic.example(seed, num_clips=1 + seed % 2) for seed in range(200)]


@pytest.mark.slow
def test_descriptions_hold_no_preference_grade_or_verdict(examples):
    judging = re.compile(r"grade|verdict|better|worse|prefer|good|bad|normal|[<>]", re.IGNORECASE)
    assert not [text for _, text in examples if judging.search(text)]


def test_its_questions_are_not_the_ones_it_is_asked_as_a_critic(examples):
    asked = {query.question for query, _ in examples}
    judged = {reasoning.question(kind, d) for kind in ("pair", "point") for d in DIMENSIONS}
    assert len(asked) == len(DIMENSIONS) + 1 and not asked & judged


def test_a_step_is_a_pure_function_of_its_number():
    first, again = critic.batch(3), critic.batch(3)
    assert [text for _, text in first] == [text for _, text in again]
    np.testing.assert_array_equal(first[0][0].clips[0], again[0][0].clips[0])
    assert (
        len(critic.batch(0)) * 2
        == len(critic.batch(1))
        == settings.CRITIC_TRAINING.train_batch_size
    )


@pytest.fixture(scope="module")
def generated(tmp_path_factory: pytest.TempPathFactory) -> GeneratedClips:
    with pytest.MonkeyPatch.context() as few:
        few.setattr(settings, "NUM_CLIP_SHARDS", 2)
        few.setattr(settings, "PROMPTS_PER_CLIP_SHARD", 2)
        return GeneratedClips(weights.FOLDER / "generator", tmp_path_factory.mktemp("work"))


@pytest.mark.slow
def test_generated_clips_are_described_by_what_is_measured_in_them(generated):
    rng = np.random.default_rng(0)
    for asked, frames_FHW3, view in generated.draw(rng, 2):
        assert frames_FHW3.shape == (9, 32, 32, 3)
        assert view == view_of_measurement(measure(frames_FHW3))
        assert asked.figures
    shown = [critic.example(seed, num_clips=2, clips=generated) for seed in range(20)]
    texts = [text for _, text in shown]
    assert texts != [critic.example(seed, num_clips=2)[1] for seed in range(20)]
    assert all(text.startswith("A: ") and "\nB: " in text for text in texts)


@pytest.mark.slow
def test_every_label_of_the_grammar_begins_with_a_token_of_its_own(tmp_path):
    vila = critic.build()
    critic.save(tmp_path, vila)
    for choice in (
        reasoning.GRADE_CHOICE,
        reasoning.Choice(reasoning.VERDICT_TAG, ("A", "B", "tie")),
    ):
        assert len(set(vila.tokens.first_tokens(choice))) == 3
    assert len(vila.tokens.encode("<verdict>")) == 1


def test_degrading_keeps_what_is_shown_and_how_it_moves():
    rng = np.random.default_rng(0)
    clean = np.zeros((9, 32, 32, 3), np.uint8)
    for frame in range(9):
        clean[frame, 10:16, frame * 2 : frame * 2 + 6] = 255, 0, 0
    degraded = [degrade(clean, rng) for _ in range(8)]
    for frames in degraded:
        assert frames.shape == clean.shape and frames.dtype == np.uint8
        across = np.arange(32) @ (frames[..., 0] > 128).sum(1).T
        assert (np.diff(across) > 0).all(), "the red square moves to the right"
    assert not np.array_equal(degraded[0], degraded[1])


def test_sight_reads_each_colour_where_it_is():
    batch = sight.batch(0)
    visible_BK = batch["place"][..., 0]
    assert (visible_BK.sum(1) <= 2 + 1e-6).all() and visible_BK.max() <= 1
    assert batch["pixels"].shape[0] == visible_BK.shape[0]
