"""Diffusion-KTO over a tiny CogVideoX: where it starts, what decides z0, and that it learns."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from dualipo.config import Align
from dualipo.generator import backbone
from dualipo.generator.align import Alignment, AlignResult, align
from dualipo.generator.backbone import Backbone
from dualipo.generator.objectives import Kto, choose, class_weights
from dualipo.generator.preference_sets import PointSet
from dualipo.generator.reference import load_or_measure
from dualipo.generator.step_batches import Steps, split
from dualipo.generator.training_errors import slot_noise
from dualipo.training.loop import Metrics

SETTINGS: dict[str, Any] = {
    "loss_type": "kto",
    "max_train_steps": 6,
    "train_batch_size": 4,
    "learning_rate": 1e-3,
    "lr_warmup_steps": 0,
    "num_slots": 2,
    "ratio_every": 4,
    "checkpointing_steps": 3,
    "real_nll_ratio": 0.0,
    "winner_nll_ratio": 0.0,
}


@pytest.fixture
def points(text_BLD: Tensor) -> PointSet:
    generator = torch.Generator().manual_seed(3)
    desirable = [True, False, False, True, False, False]
    means = torch.tensor([1.0 if good else -1.0 for good in desirable]).view(-1, 1, 1, 1, 1)
    clips = torch.randn(6, 3, 4, 4, 4, generator=generator) * 0.3 + means
    texts = {"ball": text_BLD[0], "cube": text_BLD[1]}
    return PointSet(
        ids=[f"c{k}" for k in range(6)],
        caption_keys=["ball", "cube"] * 3,
        texts=texts,
        clips=clips,
        desirable=desirable,
    )


def start(
    folder: Path, points: PointSet, work: Path, on_step: Any = None, **changes: Any
) -> AlignResult:
    return align(
        backbone.load(folder, max_sequence_length=8),
        preferences=points,
        real=None,
        settings=Align(**SETTINGS | changes),
        folder=work,
        seed=11,
        on_step=on_step,
    )


@pytest.mark.slow
def test_kto_starts_at_half_its_weights_and_learns_the_labels(
    cog_folder: Path, points: PointSet, tmp_path: Path
) -> None:
    logged: list[Metrics] = []
    start(
        cog_folder,
        points,
        tmp_path,
        lambda _, metrics: logged.append(metrics),
        max_train_steps=30,
        train_batch_size=6,
    )
    # An epoch a step: the balanced weights' mean is 1, hence the loss starts at 1 / 2.
    assert logged[0]["kto"] == pytest.approx(0.5, abs=1e-3)
    assert logged[0]["z0"] == pytest.approx(0.0, abs=1e-6)
    assert logged[-1]["kto"] < 0.25 and logged[-1]["implicit_accuracy"] == 1.0
    assert logged[-1]["loser_gap"] > 0 and logged[-1]["loser_gap"] > logged[-1]["winner_gap"]


def test_classes_weigh_the_same_together(points: PointSet) -> None:
    weights = class_weights(points, settings=Align(desirable_weight=3.0))
    assert weights == {"desirable": 3.0 * 6 / 4, "undesirable": 6 / 8}
    assert 2 * weights["desirable"] == 3 * 4 * weights["undesirable"]


def test_every_clip_has_noise_of_its_own(cog: Backbone, points: PointSet) -> None:
    levels_B, noise = slot_noise(
        cog, ids=points.ids, places=[(0, 0), (1, 0), (0, 1)], shape=(3, 4, 4, 4),
        settings=Align(), seed=1,
    )  # fmt: skip
    assert len(set(levels_B.tolist())) == 3
    assert (noise[0] - noise[1]).abs().max() > 0.1


@pytest.mark.parametrize("num_parts", [2, 4])
def test_micro_batches_do_not_change_the_loss(
    cog: Any, points: PointSet, num_parts: int, tmp_path: Path
) -> None:
    settings = Align(**SETTINGS)
    errors = load_or_measure(
        cog, preferences=points, settings=settings, seed=1, path=tmp_path / "r.safetensors"
    )
    errors.sides["clips"].add_(torch.rand(6, 2) * 4e-3)  # as if the policy had learnt
    batch = Steps(cog, points, None, errors, settings, 1).batch(0)
    results = []
    for parts in (1, num_parts):
        objective = choose(cog, points, settings)
        assert isinstance(objective, Kto)
        prepared = objective.prepare(split(batch, parts))
        terms = [objective.terms(part, prepared) for part in split(batch, parts)]
        results.append([torch.stack([t.preference for t in terms]).mean()])
        results[-1] += [torch.stack([t.winner_nll for t in terms]).mean()]
        results[-1] += [torch.stack([t.metrics["winner_gap"] for t in terms]).mean()]
        results[-1] += [terms[0].metrics["z0"]]
    for whole, divided in zip(*results, strict=True):
        torch.testing.assert_close(whole, divided, rtol=1e-4, atol=1e-6)
    assert results[0][3] > 1e-4 and results[0][0].item() != pytest.approx(0.5, abs=1e-3)


def test_a_step_without_a_desirable_clip_leaves_the_winners_weight_as_it_was(
    cog: Any, points: PointSet, tmp_path: Path
) -> None:
    """c0 and c3 are desirable; a weight that was never measured is at the next step that can."""
    settings = Align(**SETTINGS | {"winner_nll_ratio": 0.05, "train_batch_size": 6})
    errors = load_or_measure(
        cog, preferences=points, settings=settings, seed=1, path=tmp_path / "r.safetensors"
    )
    whole = Steps(cog, points, None, errors, settings, 1).batch(0)
    losers = [split(whole, 6)[k] for k, name in enumerate(whole["ids"]) if name not in ("c0", "c3")]
    alignment = Alignment(cog, choose(cog, points, settings), settings=settings)

    def prepared(micro_batches: list[dict[str, Any]], step: int) -> float:
        alignment.prepare([part | {"step": step} for part in micro_batches])
        return alignment.lambda_1

    assert prepared(losers, 0) == 0.0
    measured = prepared([whole], 1)  # though its time is every 4 steps
    assert measured > 0
    assert prepared(losers, 4) == prepared(losers, 8) == measured


@pytest.mark.slow
def test_fault_06_killed_and_resumed_kto_is_bit_equal(
    cog_folder: Path, points: PointSet, tmp_path: Path
) -> None:
    def kill(step: int, metrics: Metrics) -> None:
        if step == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        start(cog_folder, points, tmp_path / "killed", kill, gradient_accumulation_steps=2)
    again = start(cog_folder, points, tmp_path / "killed", gradient_accumulation_steps=2)
    clean = start(cog_folder, points, tmp_path / "clean", gradient_accumulation_steps=2)
    assert again.generator_hash == clean.generator_hash
