"""The reference's errors: shared noise, and a file that answers for one model only."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from dualipo.config import Align
from dualipo.errors import StageError
from dualipo.generator import backbone
from dualipo.generator.backbone import Backbone
from dualipo.generator.noise import draw, slot_seed
from dualipo.generator.preference_sets import PreferenceSet
from dualipo.generator.reference import load_or_measure, measure
from dualipo.generator.training_errors import single_errors

SETTINGS = Align(num_slots=3, train_batch_size=2)


@pytest.fixture
def preferences(text_BLD: Tensor) -> PreferenceSet:
    winners, losers = torch.randn(2, 3, 4, 3, 4, 4, generator=torch.Generator().manual_seed(3))
    losers[2] = winners[2]
    texts = {"ball": text_BLD[0], "cube": text_BLD[1]}
    return PreferenceSet(
        ids=["p0", "p1", "p2"],
        caption_keys=["ball", "cube", "ball"],
        texts=texts,
        winners=winners,
        losers=losers,
    )


def test_errors_are_those_of_named_slots(wan: Backbone, preferences: PreferenceSet) -> None:
    measured = measure(wan, preferences=preferences, settings=SETTINGS, seed=4)
    levels_B, noise = draw(
        wan, shape=(4, 3, 4, 4), draws=[slot_seed(4, item_id="p1", slot=2)], settings=SETTINGS
    )
    with torch.no_grad():
        expected = single_errors(
            wan,
            latents=preferences.losers[1:2],
            text_BLD=preferences.texts["cube"][None],
            levels_B=levels_B,
            noise=noise,
        )
    torch.testing.assert_close(measured.sides["losers"][1, 2:3], expected)


def test_a_clip_does_not_differ_from_itself(wan: Backbone, preferences: PreferenceSet) -> None:
    # With independent noise within a pair, the two errors would differ by about a tenth.
    measured = measure(wan, preferences=preferences, settings=SETTINGS, seed=4)
    winner_PS, loser_PS = measured.sides["winners"], measured.sides["losers"]
    torch.testing.assert_close(winner_PS[2], loser_PS[2], rtol=1e-5, atol=0)
    assert (winner_PS[0] - loser_PS[0]).abs().min() > 1e-4
    assert winner_PS[2].std() > 1e-3


def test_fault_34_another_reference_is_refused(
    wan: Backbone, preferences: PreferenceSet, tmp_path: Path
) -> None:
    arguments: dict[str, Any] = {
        "preferences": preferences, "settings": SETTINGS, "path": tmp_path / "r.safetensors"
    }  # fmt: skip
    first = load_or_measure(wan, seed=4, **arguments)
    again = load_or_measure(wan, seed=4, **arguments)
    assert torch.equal(first.sides["winners"], again.sides["winners"])
    assert first.reference_hash == wan.hash()
    with torch.no_grad():
        next(wan.module.parameters()).view(-1)[0] += 1e-3
    with pytest.raises(StageError, match=r"another reference_hash than.*align.reference"):
        load_or_measure(wan, seed=4, **arguments)


@pytest.mark.parametrize(
    ("key", "change"),
    [
        ("seed", {"seed": 5}),
        ("num_slots", {"num_slots": 2}),
        ("noise_levels", {"weighting_scheme": "logit_normal"}),
        ("schedule", {"flow_shift": 5.0}),
        ("attention, precision", {"mixed_precision": "bf16"}),
        ("reference_hash, precision", {"dtype": torch.bfloat16}),
        ("items", {"items": [0, 1]}),
    ],
)
def test_fault_34_every_key_of_the_cache_is_checked(
    wan: Backbone, preferences: PreferenceSet, tmp_path: Path, key: str, change: dict[str, Any]
) -> None:
    path = tmp_path / "r.safetensors"
    load_or_measure(wan, preferences=preferences, settings=SETTINGS, seed=4, path=path)
    seed, items = change.get("seed", 4), change.get("items", [0, 1, 2])
    wan.module.to(change.get("dtype", torch.float32))
    fewer = PreferenceSet(
        ids=[preferences.ids[k] for k in items],
        caption_keys=["ball"] * len(items),
        texts=preferences.texts,
        winners=preferences.winners[: len(items)],
        losers=preferences.losers[: len(items)],
    )
    known = {name: value for name, value in change.items() if name in Align.model_fields}
    settings = SETTINGS.model_copy(update=known)
    with pytest.raises(StageError, match=f"measured with another {key} than"):
        load_or_measure(wan, preferences=fewer, settings=settings, seed=seed, path=path)


def test_fault_34_a_cogvideox_cache_is_of_one_schedule(cog_folder: Path) -> None:
    """2B and 5B shift the signal-to-noise ratio by 3 and by 1: other errors on the same weights."""
    cog: Any = backbone.load(cog_folder, max_sequence_length=8)
    of_5b = cog.schedule(shift=3.0)
    assert of_5b == cog.schedule(shift=5.0)  # which is flow matching's
    cog._scheduler = type(cog._scheduler).from_config(cog._scheduler.config, snr_shift_scale=3.0)
    assert cog.schedule(shift=3.0) != of_5b
