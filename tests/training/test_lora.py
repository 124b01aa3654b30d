"""Adapters on both families: trained, kept, loaded by stock pipelines, and merged."""

import gc
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import CogVideoXPipeline, WanPipeline
from torch import Tensor, nn

from dualipo.config import Align, Generator
from dualipo.errors import ConfigError
from dualipo.generator import backbone
from dualipo.generator.align import AlignResult, align
from dualipo.generator.preference_sets import PreferenceSet
from dualipo.training import lora, sharded
from dualipo.training.loop import Metrics
from tests.generator.conftest import make_cogvideox, make_pipeline

SETTINGS: dict[str, Any] = {
    "rank": 4,
    "lora_alpha": 8,
    "max_train_steps": 6,
    "train_batch_size": 4,
    "learning_rate": 5e-3,
    "lr_warmup_steps": 0,
    "num_slots": 2,
    "checkpointing_steps": 3,
    "real_nll_ratio": 0.0,
}
FAMILIES = ["wan", "cogvideox"]
STOCK = {"wan": WanPipeline, "cogvideox": CogVideoXPipeline}
Start = Callable[..., AlignResult]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    pipelines = {"wan": make_pipeline(), "cogvideox": make_cogvideox(rotary=True)}
    root = tmp_path_factory.mktemp("families")
    for name, pipeline in pipelines.items():
        pipeline.save_pretrained(root / name)
    return {name: root / name for name in pipelines}


def pairs(model: Any) -> PreferenceSet:
    generator = torch.Generator().manual_seed(3)
    shape = model.latent_shape(num_frames=9, height=32, width=32)
    winners, losers = (torch.randn(5, *shape, generator=generator) * 0.3 + mean for mean in (1, -1))
    texts = {"x": model.encode_text(["a red ball"])[0]}
    return PreferenceSet(
        ids=[f"p{k}" for k in range(5)],
        caption_keys=["x"] * 5,
        texts=texts,
        winners=winners,
        losers=losers,
    )


@pytest.fixture
def start(folders: dict[str, Path], tmp_path: Path) -> Start:
    def run(family: str, name: str = "a", on_step: Any = None, **changes: Any) -> AlignResult:
        dtype = changes.pop("dtype", torch.float32)
        model = backbone.load(
            folders[family],
            max_sequence_length=8,
            dtype=dtype,
            transformer_folder=changes.pop("transformer_folder", None),
        )
        return align(
            model,
            preferences=pairs(model),
            real=None,
            settings=Align(**SETTINGS | changes),
            folder=tmp_path / name,
            seed=11,
            on_step=on_step,
        )

    return run


def latents_of(model: Any, text_BLD: Tensor) -> Tensor:
    sizes = {"num_frames": 9, "height": 32, "width": 32}
    settings = Generator(**sizes, num_inference_steps=3, guidance_scale=1.0)
    return model.sample(text_BLD, seeds=[5], settings=settings)


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
def test_a_stock_pipeline_with_the_adapter_is_the_merged_version(
    start: Start, folders: dict[str, Path], family: str
) -> None:
    result = start(family)
    assert result.adapter_path is not None and result.adapter_path.name == lora.ADAPTER_FILE
    arguments = {"max_sequence_length": 8}
    base = backbone.load(folders[family], **arguments)
    version = backbone.load(
        folders[family], **arguments, transformer_folder=result.transformer_folder
    )
    assert version.hash() == result.generator_hash != result.reference_hash == base.hash()
    stock = STOCK[family].from_pretrained(folders[family])
    stock.load_lora_weights(result.adapter_path.parent)
    text_BLD = base.encode_text(["a red ball"])
    expected = stock(
        "a red ball",
        num_frames=9,
        height=32,
        width=32,
        num_inference_steps=3,
        guidance_scale=1.0,
        max_sequence_length=8,
        generator=[torch.Generator().manual_seed(5)],
        output_type="latent",
    ).frames
    torch.testing.assert_close(latents_of(version, text_BLD), expected, rtol=1e-4, atol=1e-4)
    assert (latents_of(base, text_BLD) - expected).abs().max() > 1e-2


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
def test_training_starts_at_the_reference_and_learns(start: Start, family: str) -> None:
    logged: list[Metrics] = []
    start(family, on_step=lambda _, metrics: logged.append(metrics), max_train_steps=25)
    assert logged[0]["dpo"] == pytest.approx(math.log(2), abs=1e-4)
    assert logged[-1]["dpo"] < 0.7 * logged[0]["dpo"]


@pytest.mark.slow
def test_a_later_round_starts_from_the_merged_weights(start: Start) -> None:
    first = start("wan", "first")
    second = start("wan", "second", transformer_folder=first.transformer_folder)
    assert second.reference_hash == first.generator_hash != second.generator_hash


def test_only_the_adapter_is_trained_and_kept(start: Start, tmp_path: Path) -> None:
    start("wan")
    kept = sharded.load_latest(tmp_path / "a" / "checkpoints", weights={})
    assert kept is not None and all("lora_" in name for name in kept.tensors)
    weights = {name for name in kept.tensors if name.startswith("model.")}
    # Ten linear modules of attn1, attn2 and ffn in each of two blocks, an A and a B each.
    assert len(weights) == 2 * 10 * 2


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("rank", [0, 4])
def test_weights_are_held_once(
    folders: dict[str, Path], tmp_path: Path, family: str, rank: int
) -> None:
    """Count all tensors, not parameters alone: a copied state dict would be seen."""
    model: Any = backbone.load(folders[family], max_sequence_length=8)
    preferences = pairs(model)
    num_weights = sum(weight.numel() for weight in model.module.parameters())
    before = num_in_memory()
    more: list[int] = []
    trained: list[int] = []

    def on_step(step: int, metrics: Metrics) -> None:
        if step == 1:
            weights = (weight for weight in model.module.parameters() if weight.requires_grad)
            trained.append(sum(weight.numel() for weight in weights))
            more.append(num_in_memory() - before)

    settings = Align(**SETTINGS | {"rank": rank, "max_train_steps": 2})
    align(
        model, preferences=preferences, real=None, settings=settings, folder=tmp_path, seed=11,
        on_step=on_step,
    )  # fmt: skip
    # AdamW's two moments, and an adapter itself; besides these errors, no more than a fifth.
    expected = (3 if rank else 2) * trained[0]
    assert expected <= more[0] < expected + num_weights / 5
    assert num_in_memory() - before < num_weights / 5


def num_in_memory() -> int:
    """Count the numbers that tensors hold, each storage once."""
    gc.collect()
    tensors = [item for item in gc.get_objects() if type(item) in (Tensor, nn.Parameter)]
    held = {
        tensor.untyped_storage().data_ptr(): tensor.untyped_storage().nbytes()
        for tensor in tensors
        if tensor.device.type == "cpu"
    }
    return sum(held.values()) // 4


@pytest.mark.slow
def test_fault_06_a_killed_and_resumed_adapter_is_bit_equal(start: Start) -> None:
    def kill(step: int, metrics: Metrics) -> None:
        if step == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        start("wan", "killed", kill)
    assert start("wan", "killed").generator_hash == start("wan", "clean").generator_hash


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("rank", [0, 4])
def test_checkpointed_gradients_are_the_same(start: Start, family: str, rank: int) -> None:
    changes = {"rank": rank, "max_train_steps": 2}
    plain = start(family, "plain", **changes)
    checkpointed = start(family, "checkpointed", gradient_checkpointing=True, **changes)
    assert plain.generator_hash == checkpointed.generator_hash


def test_an_adapter_may_stand_on_a_model_in_bfloat16(start: Start) -> None:
    logged: list[Metrics] = []
    start("wan", on_step=lambda _, metrics: logged.append(metrics), dtype=torch.bfloat16)
    assert logged[0]["dpo"] == pytest.approx(math.log(2), abs=1e-4)
    assert logged[-1]["dpo"] < logged[0]["dpo"]
    with pytest.raises(ConfigError, match="float32"):
        start("wan", "full", dtype=torch.bfloat16, rank=0)
