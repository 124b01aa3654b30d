"""Tests that the critic is pretrained to describe, and never sees a preference or a verdict."""

import re
from dataclasses import replace

import numpy as np
import pytest
import torch

from dualipo.critic import reasoning
from dualipo.pretraining import critic, frame_words, settings, sight
from dualipo.pretraining.degradation import degrade
from dualipo.records import DIMENSIONS


@pytest.fixture(scope="module")
def examples(drawn) -> list[critic.Example]:
    with pytest.MonkeyPatch.context() as few:
        few.setattr(settings, "PROMPTS_PER_CLIP_SHARD", 8)
        return [critic.example(seed, pool=drawn, num_clips=1 + seed % 2) for seed in range(200)]


def test_descriptions_hold_no_preference_grade_or_verdict(examples):
    judging = re.compile(
        r"grade|verdict|better|worse|prefer|good|\bbad\b|normal|[<>]", re.IGNORECASE
    )
    assert not [example.response for example in examples if judging.search(example.response)]


def test_its_questions_are_not_the_ones_it_is_asked_as_a_critic(examples):
    asked = {example.query.question for example in examples}
    judged = {reasoning.question(kind, d) for kind in ("pair", "point") for d in DIMENSIONS}
    assert len(asked) == len(DIMENSIONS) + 1 + len(frame_words.ASPECTS) and not asked & judged


def test_two_clips_are_described_one_after_the_other(examples):
    for example in examples:
        is_pair = example.query.kind == "pair"
        assert len(example.clips) == len(example.query.clips) == 1 + is_pair
        assert (example.response.startswith("A: ") and "\nB: " in example.response) == is_pair


def test_the_last_stage_asks_about_single_frames_too(drawn, examples):
    shares = settings.FAMILIAR_QUESTIONS
    before = {example.query.question for example in examples}
    later = critic.batch(1, pools=[drawn], stage="familiar", questions=shares)
    of_one = [each for each in later if each.query.question not in before]
    assert 0 < len(of_one) < len(later)
    for example in of_one:
        (clip,) = example.clips
        frame = int(re.match(r"Frame (\d+):", example.query.question)[1]) - 1
        assert example.response == frame_words.describe_one(clip.measurement, frame)


def test_a_step_is_a_pure_function_of_its_number(drawn):
    first, again = (critic.batch(3, pools=[drawn], stage="critic") for _ in range(2))
    assert [example.response for example in first] == [example.response for example in again]
    np.testing.assert_array_equal(first[0].query.clips[0], again[0].query.clips[0])
    pairs = critic.batch(0, pools=[drawn], stage="critic")
    assert len(pairs) * 2 == len(first) == settings.CRITIC_TRAINING.train_batch_size


@pytest.mark.slow
def test_the_readout_goes_on_beside_the_description(drawn):
    # The loss is the description's plus the weighted readout's, and both teach their parts.
    torch.manual_seed(0)
    vila = critic.build([drawn])
    describing = critic.Describing(vila, sight.Sight(vila.module))
    examples = critic.batch(1, pools=[drawn], stage="critic")[:4]
    loss, metrics = describing.loss(examples, None)
    reading = 4 * metrics["opacity"] + 4 * metrics["numbers"] + metrics["shape"] + metrics["words"]
    weighted = (float(loss.detach()) - metrics["nll"]) / critic.READING_WEIGHT
    assert reading <= weighted <= reading + 0.3 * 2 * np.log(3), "what is left is the background"
    loss.backward()
    for part in (vila.module.llm, vila.module.vision_tower, vila.module.mm_projector):
        assert any(p.grad is not None and p.grad.any() for p in part.parameters())


@pytest.mark.slow
def test_every_label_of_the_grammar_begins_with_a_token_of_its_own(tmp_path, drawn):
    vila = critic.build([drawn])
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


def test_the_loss_of_a_perfect_reading_is_nothing(drawn):
    # At the truth only the entropy of the measured shapes is left.
    frames = sight.batch(0, pools=[drawn])
    words_A = [
        50.0 * one_hot(words, num)
        for words, num in zip(frames["words"].unbind(-1), sight.NUM_WORDS, strict=True)
    ]
    truth = sight.Reading(
        frames["place"],
        (frames["shape"] + 1e-9).log(),
        50.0 * one_hot(frames["background"], 3),
        tuple(words_A),
    )
    reading = sight.FrameReading(lambda pixels: truth)
    perfect, metrics = reading.loss(frames, None)
    assert metrics["opacity"] == metrics["numbers"] == 0
    assert float(perfect) == pytest.approx(metrics["shape"], abs=1e-5)
    wrong = replace(truth, place_BKP=frames["place"].flip(1))
    assert sight.FrameReading(lambda pixels: wrong).loss(frames, None)[0] > perfect
    assert (frames["place"][..., 0] > 0).sum(1).max() <= 4


def one_hot(numbers: torch.Tensor, num: int) -> torch.Tensor:
    """Return logits that choose the true class."""
    return torch.nn.functional.one_hot(numbers, num).float()
