"""Preferences that an alignment is not trained on: the split, the measurement, stopping early."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from dualipo.config import Align
from dualipo.errors import ConfigError
from dualipo.generator import backbone, holdout
from dualipo.generator.align import AlignResult, align
from dualipo.generator.preference_sets import PointSet, Preferences, PreferenceSet
from dualipo.training.loop import Metrics
from tests.generator import test_align

SETTINGS: dict[str, Any] = test_align.SETTINGS | {"max_train_steps": 12, "learning_rate": 1e-2}
SETTINGS |= {"rank": 4, "num_holdout": 4, "holdout_every": 2, "real_nll_ratio": 0.0}
Run = Callable[..., AlignResult]


def pairs_of(text_BLD: Tensor, *, num: int = 12, num_captions: int = 6) -> PreferenceSet:
    draws = torch.Generator().manual_seed(3)
    captions = [f"c{k % num_captions}" for k in range(num)]
    return PreferenceSet(
        ids=[f"pair-{k}" for k in range(num)],
        caption_keys=captions,
        texts={caption: text_BLD[int(caption[1:]) % 2] for caption in captions},
        winners=torch.randn(num, 4, 3, 4, 4, generator=draws) * 0.3 + 1.0,
        losers=torch.randn(num, 4, 3, 4, 4, generator=draws) * 0.3 - 1.0,
    )


def points_of(pairs: PreferenceSet) -> PointSet:
    return PointSet(
        ids=[f"{side}-{item}" for item in pairs.ids for side in "wl"],
        caption_keys=[key for key in pairs.caption_keys for _ in "wl"],
        texts=pairs.texts,
        clips=[
            clip
            for k in range(len(pairs.ids))
            for clip in (pairs.stack("winners", [k])[0], pairs.stack("losers", [k])[0])
        ],
        desirable=[side == "w" for _ in pairs.ids for side in "wl"],
    )


@pytest.fixture
def run(pipeline_folder: Path, text_BLD: Tensor, tmp_path: Path) -> Run:
    def start(
        name: str, on_step: Any = None, preferences: Preferences | None = None, **changes: Any
    ) -> AlignResult:
        return align(
            backbone.load(pipeline_folder, max_sequence_length=8),
            preferences=preferences or pairs_of(text_BLD),
            real=None,
            settings=Align(**SETTINGS | changes),
            folder=tmp_path / name,
            seed=11,
            reference_folder=tmp_path / "shared",
            on_step=on_step,
        )

    return start


def test_whole_captions_are_held_out_and_by_the_seed_alone(text_BLD: Tensor) -> None:
    pairs, settings = pairs_of(text_BLD), Align(**SETTINGS)
    trained, held = holdout.split(pairs, settings=settings, seed=1)
    assert held is not None
    assert not {*trained.caption_keys} & {*held.caption_keys}
    assert sorted([*trained.ids, *held.ids]) == sorted(pairs.ids)
    assert len(held.ids) == 4  # two captions of two pairs
    item = pairs.ids.index(held.ids[1])
    assert torch.equal(held.stack("winners", [1]), pairs.stack("winners", [item]))
    again = holdout.split(pairs, settings=settings, seed=1)[1]
    other = holdout.split(pairs, settings=settings, seed=2)[1]
    assert again is not None and other is not None
    assert again.ids == held.ids != other.ids


def test_a_holdout_that_leaves_nothing_is_refused(text_BLD: Tensor) -> None:
    with pytest.raises(ConfigError, match=r"leaves nothing to train on.* 12 preferences of 6"):
        holdout.split(pairs_of(text_BLD), settings=Align(num_holdout=12), seed=1)
    pairs = pairs_of(text_BLD)
    one_class = PointSet(
        ids=pairs.ids,
        caption_keys=pairs.caption_keys,
        texts=pairs.texts,
        clips=pairs.winners,
        desirable=[key == "c0" for key in pairs.caption_keys],
    )
    with pytest.raises(ConfigError, match="need desirable and undesirable clips"):
        holdout.split(one_class, settings=Align(num_holdout=2), seed=1)


@pytest.mark.slow
@pytest.mark.parametrize("loss_type", ["dpo", "kto"])
def test_what_carries_over_is_measured_on_captions_that_are_not_trained_on(
    run: Run, text_BLD: Tensor, loss_type: str
) -> None:
    """Winners are bright and losers dark under every caption, so the preference carries over."""
    pairs = pairs_of(text_BLD)
    logged: list[Metrics] = []
    preferences = pairs if loss_type == "dpo" else points_of(pairs)
    result = run("a", lambda _, m: logged.append(m), preferences, loss_type=loss_type, beta_kto=1.0)
    measured = [n for n, metrics in enumerate(logged, 1) if "holdout_accuracy" in metrics]
    assert measured == [2, 4, 6, 8, 10, 12]
    assert logged[-1]["holdout_accuracy"] == result.metrics["holdout_accuracy"] == 1.0
    assert logged[-1]["holdout_loss"] < logged[1]["holdout_loss"]
    assert result.best_step is None and result.num_steps == 12


@pytest.fixture
def turned(text_BLD: Tensor) -> PreferenceSet:
    """In the held-out captions the dark clips win, so that each step makes it worse there."""
    pairs = pairs_of(text_BLD)
    _, held = holdout.split(pairs, settings=Align(**SETTINGS), seed=11)
    assert held is not None
    is_held = torch.tensor([item in held.ids for item in pairs.ids]).view(-1, 1, 1, 1, 1)
    winners, losers = pairs.stack("winners", range(12)), pairs.stack("losers", range(12))
    return PreferenceSet(
        ids=pairs.ids,
        caption_keys=pairs.caption_keys,
        texts=pairs.texts,
        winners=torch.where(is_held, losers, winners),
        losers=torch.where(is_held, winners, losers),
    )


@pytest.mark.slow
def test_a_preference_that_does_not_carry_over_ends_early_with_the_best_weights(
    run: Run, turned: PreferenceSet
) -> None:
    stopped = run("stopped", preferences=turned, patience=2)
    assert (stopped.num_steps, stopped.best_step) == (6, 2)
    short = run("short", preferences=turned, max_train_steps=2)
    assert stopped.generator_hash == short.generator_hash
    # Kill before the best weights, behind them, and before the last checkpoint (fault 6).
    for at_step in (1, 3, 5):

        def kill(step: int, metrics: Metrics, at_step: int = at_step) -> None:
            if step == at_step:
                raise KeyboardInterrupt

        name = f"killed-{at_step}"
        with pytest.raises(KeyboardInterrupt):
            run(name, kill, preferences=turned, patience=2)
        again = run(name, preferences=turned, patience=2)
        assert again.generator_hash == stopped.generator_hash
        assert (again.num_steps, again.best_step) == (6, 2)


def test_alignments_that_share_a_folder_measure_the_reference_once(
    run: Run, tmp_path: Path
) -> None:
    run("a", max_train_steps=1)
    files = {path: path.stat().st_mtime_ns for path in (tmp_path / "shared").iterdir()}
    assert len(files) == 2  # trained and held out
    run("b", max_train_steps=1, beta_dpo=50.0)
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "shared").iterdir()} == files
    run("c", max_train_steps=1, num_slots=1)
    assert len([*(tmp_path / "shared").iterdir()]) == 4
