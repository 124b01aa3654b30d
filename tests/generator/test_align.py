"""An alignment of a tiny model: at its start, on its way, and after a kill."""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from dualipo.config import Align
from dualipo.errors import ConfigError, DataError, StageError
from dualipo.generator import backbone
from dualipo.generator.align import Alignment, AlignResult, align, measure_reference
from dualipo.generator.backbone import Backbone
from dualipo.generator.objectives import Dpo
from dualipo.generator.preference_sets import PreferenceSet, RealClips
from dualipo.generator.reference import load_or_measure, measure
from dualipo.generator.step_batches import Steps, split
from dualipo.training.loop import Metrics
from dualipo.training.optim import trainable

SETTINGS: dict[str, Any] = {
    "max_train_steps": 6,
    "train_batch_size": 4,
    "real_batch_size": 3,
    "learning_rate": 1e-3,
    "lr_warmup_steps": 0,
    "num_slots": 2,
    "ratio_every": 4,
    "checkpointing_steps": 3,
}
Run = Callable[..., AlignResult]


@pytest.fixture
def preferences(text_BLD: Tensor) -> PreferenceSet:
    generator = torch.Generator().manual_seed(3)
    winners = torch.randn(5, 4, 3, 4, 4, generator=generator) * 0.3 + 1.0
    losers = torch.randn(5, 4, 3, 4, 4, generator=generator) * 0.3 - 1.0
    texts = {"ball": text_BLD[0], "cube": text_BLD[1]}
    ids = [f"pair-{k}" for k in range(5)]
    captions = ["ball", "cube", "ball", "cube", "ball"]
    return PreferenceSet(
        ids=ids, caption_keys=captions, texts=texts, winners=winners, losers=losers
    )


@pytest.fixture
def real(text_BLD: Tensor) -> RealClips:
    latents = torch.randn(4, 4, 3, 4, 4, generator=torch.Generator().manual_seed(5))
    return RealClips(latents, text_BLD[[0, 1, 0, 1]])


@pytest.fixture
def run(pipeline_folder: Path, preferences: PreferenceSet, real: RealClips, tmp_path: Path) -> Run:
    def start(name: str, on_step: Any = None, **changes: Any) -> AlignResult:
        return align(
            backbone.load(pipeline_folder, max_sequence_length=8),
            preferences=preferences,
            real=real,
            settings=Align(**SETTINGS).model_copy(update=changes),  # also a rate that is refused
            folder=tmp_path / name,
            seed=11,
            on_step=on_step,
        )

    return start


@pytest.mark.slow
def test_alignment_starts_at_ln_2_and_learns_the_preference(run: Run) -> None:
    logged: list[Metrics] = []
    result = run("a", lambda step, metrics: logged.append(metrics), max_train_steps=25)
    assert logged[0]["dpo"] == pytest.approx(math.log(2), abs=1e-4)
    assert abs(logged[0]["winner_gap"]) < 1e-6 and abs(logged[0]["loser_gap"]) < 1e-6
    assert logged[-1]["dpo"] < 0.5 * logged[0]["dpo"]
    assert logged[-1]["implicit_accuracy"] == 1.0
    assert logged[-1]["loser_gap"] > logged[-1]["winner_gap"]
    assert result.reference_hash != result.generator_hash


@pytest.mark.parametrize("precision", ["no", "bf16"])
def test_the_reference_is_measured_as_the_policy_is(run: Run, precision: str) -> None:
    """Use a beta of a full-size run: it shows any difference of rounding between the two."""
    logged: list[Metrics] = []
    run("a", lambda _, m: logged.append(m), mixed_precision=precision, beta_dpo=5000.0)
    assert logged[0]["dpo"] == pytest.approx(math.log(2), abs=2e-2)


def test_aligned_transformer_loads_as_a_version(run: Run, pipeline_folder: Path) -> None:
    result = run("a")
    version = backbone.load(
        pipeline_folder, max_sequence_length=8, transformer_folder=result.transformer_folder
    )
    assert version.hash() == result.generator_hash


@pytest.mark.slow
def test_fault_6_killed_and_resumed_alignment_is_bit_equal(run: Run) -> None:
    def kill(step: int, metrics: Metrics) -> None:
        if step == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run("killed", kill)
    assert run("killed").generator_hash == run("clean").generator_hash


def test_accumulation_does_not_change_the_loss(run: Run) -> None:
    # 4 pairs and 3 real clips in parts of 1 and 0 to 1: the first part has no real clip.
    logged: list[list[Metrics]] = [[], []]
    for parts, metrics_of in zip((1, 4), logged, strict=True):
        run(
            f"parts-{parts}",
            lambda step, metrics, log=metrics_of: log.append(metrics),
            gradient_accumulation_steps=parts,
            ratio_every=1,
            max_train_steps=2,
        )
    assert logged[0][0]["lambda_2"] > 0
    assert logged[1][1]["z_std"] > 0.01
    for name in ("loss", "winner_nll", "real_nll", "winner_gap", "z_std", "lambda_1", "lambda_2"):
        whole, split_up = (metrics[1][name] for metrics in logged)
        assert whole == pytest.approx(split_up, rel=1e-3, abs=1e-5)


@pytest.mark.slow
def test_the_reference_may_be_another_model_than_the_start(
    run: Run, wan: Backbone, pipeline_folder: Path, preferences: PreferenceSet, tmp_path: Path
) -> None:
    first = run("first", max_train_steps=25)
    start = partial(
        backbone.load,
        pipeline_folder,
        max_sequence_length=8,
        transformer_folder=first.transformer_folder,
    )
    settings = Align(**SETTINGS | {"train_batch_size": 5, "num_slots": 1, "real_nll_ratio": 0})
    arguments: dict[str, Any] = {"preferences": preferences, "settings": settings, "seed": 2}
    models = {"base": wan, "start": start()}
    errors = {name: measure(model, **arguments).sides for name, model in models.items()}
    arguments["folder"] = tmp_path / "second"
    reference_hash = measure_reference(wan, **arguments)
    logged: list[Metrics] = []
    second = align(
        start(),
        real=None,
        reference_hash=reference_hash,
        on_step=lambda _, metrics: logged.append(metrics),
        **arguments,
    )
    assert second.reference_hash == reference_hash == first.reference_hash
    for side in ("winner", "loser"):
        gap = (errors["start"][f"{side}s"] - errors["base"][f"{side}s"]).mean()
        assert logged[0][f"{side}_gap"] == pytest.approx(float(gap), rel=1e-4)
    assert logged[0]["dpo"] < 0.9 * math.log(2)  # what the first alignment learnt counts


def gradient_norm(term: Tensor, weights: list[nn.Parameter]) -> float:
    gradients = torch.autograd.grad(term, weights, retain_graph=True, allow_unused=True)
    return float(torch.stack([g.norm() for g in gradients if g is not None]).norm())


@pytest.mark.parametrize("preference_weight", [1.0, 0.0])
def test_nll_terms_have_their_share_of_the_gradient(
    wan: Backbone,
    preferences: PreferenceSet,
    real: RealClips,
    tmp_path: Path,
    preference_weight: float,
) -> None:
    settings = Align(**SETTINGS, preference_weight=preference_weight)
    errors = load_or_measure(
        wan, preferences=preferences, settings=settings, seed=1, path=tmp_path / "r.safetensors"
    )
    batch = Steps(wan, preferences, real, errors, settings, 1).batch(0)
    objective = Alignment(wan, Dpo(wan, settings), settings=settings)
    prepared = objective.prepare([batch])
    preference, winner_nll, real_nll, _ = objective._terms(batch, prepared)
    weights = list(trainable(wan.module).values())
    weights = weights[-(len(weights) // 4) :]
    base = gradient_norm(preference if preference_weight else winner_nll, weights)
    assert gradient_norm(objective.lambda_1 * winner_nll, weights) == pytest.approx(0.05 * base)
    assert gradient_norm(objective.lambda_2 * real_nll, weights) == pytest.approx(0.1 * base)
    restored = Alignment(wan, Dpo(wan, settings), settings=settings)
    restored.load_state(objective.state())
    assert restored.state() == objective.state()


@pytest.mark.parametrize("parts", [1, 4])
def test_certainty_weighs_a_pair_and_keeps_the_scale(
    wan: Backbone, preferences: PreferenceSet, tmp_path: Path, parts: int
) -> None:
    """Equal certainties change nothing, and a pair with certainty 0 does not count."""
    certainties = [0.5, 1.0, 0.75, 0.0, 0.25]
    means = {}
    for name, values in {"equal": [0.6] * 5, "some": certainties, "off": certainties}.items():
        settings = Align(**SETTINGS, certainty_weights=name != "off")
        given = replace(preferences, certainties=values)
        errors = load_or_measure(
            wan, preferences=given, settings=settings, seed=1, path=tmp_path / "r.safetensors"
        )
        errors.sides["losers"].add_(torch.arange(10).view(5, 2) * 1e-3)  # as if it had learnt
        batch = Steps(wan, given, None, errors, settings, 1).batch(0)
        objective = Dpo(wan, settings)
        terms = [objective.terms(part, None).preference for part in split(batch, parts)]
        means[name] = float(torch.stack(terms).mean().detach())
    plain = {item: float(objective.terms(part, None).preference.detach())
             for item, part in zip(batch["ids"], split(batch, 4), strict=True)}  # fmt: skip
    by_hand = [
        plain[f"pair-{k}"] * w / 0.5 for k, w in enumerate(certainties) if f"pair-{k}" in plain
    ]
    assert means["off"] == pytest.approx(means["equal"], rel=1e-6)
    assert means["some"] == pytest.approx(sum(by_hand) / 4, rel=1e-4) != means["off"]
    with pytest.raises(DataError, match="certainty_weights=false"):
        Steps(wan, preferences, None, errors, settings.model_copy(
            update={"certainty_weights": True}), 1).batch(0)  # fmt: skip


def test_a_share_is_what_a_split_gives_and_reads_nothing_else(
    wan: Backbone, preferences: PreferenceSet, real: RealClips, tmp_path: Path
) -> None:
    settings = Align(**SETTINGS | {"real_batch_size": 4})
    errors = load_or_measure(
        wan, preferences=preferences, settings=settings, seed=1, path=tmp_path / "r.safetensors"
    )
    read: list[int] = []

    class Watched(Sequence[Tensor]):
        def __init__(self, latents: Sequence[Tensor] | Tensor) -> None:
            self.latents = latents

        def __len__(self) -> int:
            return len(self.latents)

        def __getitem__(self, index: int) -> Tensor:  # type: ignore[override]
            read.append(index)
            return self.latents[index]

    watched = replace(preferences, winners=Watched(preferences.winners))
    clips = RealClips(Watched(real.latents), real.texts)
    steps = Steps(wan, watched, clips, errors, settings, 1)
    for share, expected in enumerate(split(steps.batch(1), 2)):
        read.clear()
        batch = steps.batch(1, share=share, num_shares=2)
        assert len(read) == 2 + 2 and batch.pop("ids") == expected.pop("ids")
        torch.testing.assert_close(batch, expected, rtol=0, atol=0)


def test_split_keeps_every_item_once() -> None:
    batch = {"ids": list("abcde"), "step": 3, "pairs": {"x": torch.arange(5)}, "real": {}}
    parts = split(batch, 2)
    assert [part["ids"] for part in parts] == [["a", "b"], ["c", "d", "e"]]
    assert torch.equal(torch.cat([part["pairs"]["x"] for part in parts]), torch.arange(5))


def test_fault_25_a_diverging_alignment_stops_before_the_step(run: Run, tmp_path: Path) -> None:
    with pytest.raises(StageError, match=r"step 1: .*not finite; batch: \['pair-"):
        run("diverges", learning_rate=1e20)
    assert not (tmp_path / "diverges" / "transformer").exists()


@pytest.mark.slow
def test_weights_that_round_away_updates_are_refused(
    pipeline_folder: Path, preferences: PreferenceSet, tmp_path: Path
) -> None:
    half = backbone.load(pipeline_folder, max_sequence_length=8, dtype=torch.bfloat16)
    with pytest.raises(ConfigError, match=r"torch.bfloat16.*mixed_precision"):
        align(
            half, preferences=preferences, real=None,
            settings=Align(**SETTINGS, real_nll_ratio=0.0), folder=tmp_path, seed=0,
        )  # fmt: skip


def test_missing_real_clips_are_refused(
    wan: Backbone, preferences: PreferenceSet, tmp_path: Path
) -> None:
    arguments: dict[str, Any] = {
        "preferences": preferences, "real": None, "folder": tmp_path, "seed": 0
    }  # fmt: skip
    with pytest.raises(DataError, match="real_nll_ratio=0"):
        align(wan, settings=Align(**SETTINGS), **arguments)
    assert align(wan, settings=Align(**SETTINGS, real_nll_ratio=0.0), **arguments).num_steps == 6
