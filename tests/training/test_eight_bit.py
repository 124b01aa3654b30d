"""AdamW with moments of 8 bits, where two gloo processes hold the weights in parts."""

import functools
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from dualipo.config import Optimizer
from dualipo.store import tensors
from dualipo.training import loop, ranks
from tests import two_ranks

NUM_STEPS, RATE = 4, 2e-4


class Blocks(nn.Module):
    """A model of square weights, and of one row that only the first process has."""

    def __init__(self, width: int) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.blocks = nn.ModuleList([nn.Linear(width, width), nn.Linear(width, width)])
        self.last = nn.Linear(width, 1)

    def forward(self, inputs_BD: Tensor) -> Tensor:
        for block in self.blocks:
            inputs_BD = block(inputs_BD).tanh()
        return self.last(inputs_BD)


class Sum(loop.Objective):
    """Regression on the sum of a row."""

    def __init__(self, model: nn.Module) -> None:
        self.model = model

    def loss(self, micro_batch: dict[str, Any], prepared: None) -> tuple[Tensor, loop.Metrics]:
        given_BD = micro_batch["given_BD"]
        return (self.model(given_BD)[:, 0] - given_BD.sum(1)).square().mean(), {}


def batch(step: int, width: int) -> dict[str, Any]:
    given_BD = torch.randn(8, width, generator=torch.Generator().manual_seed(step))
    own = ranks.share(list(given_BD))
    return {"given_BD": torch.stack(own)}


def train(folder: Path, name: str, width: int, *, killed_at: int = -1) -> list[float]:
    """Train from the last checkpoint on; write the weights at the end, return the losses."""
    model, losses = Blocks(width), []
    ranks.shard(model)

    def on_step(step: int, metrics: loop.Metrics) -> None:
        losses.append(metrics["loss"])
        if step == killed_at:
            raise KeyboardInterrupt

    settings = Optimizer(
        learning_rate=RATE,
        max_train_steps=NUM_STEPS,
        checkpointing_steps=1,
        optimizer="adamw_8bit",
    )
    loop.train(
        model,
        Sum(model),
        batches=lambda step: batch(step, width),
        settings=settings,
        checkpoint_folder=folder / name,
        seed=0,
        on_step=on_step,
    )
    weights = ranks.whole_state(model)
    if ranks.rank() == 0:
        tensors.save(folder / f"{name}.safetensors", weights, metadata={})
    return losses


def killed(folder: Path, name: str, width: int, at: int) -> None:
    with pytest.raises(KeyboardInterrupt):
        train(folder, name, width, killed_at=at)


@pytest.mark.slow
@pytest.mark.parametrize("width", [128, 129])
def test_two_processes_train_as_one_does_and_each_goes_on_where_the_other_was_killed(
    tmp_path: Path, width: int
) -> None:
    """Compare each weight where parts are whole blocks; elsewhere the mean, as scales differ."""
    pytest.importorskip("bitsandbytes")
    alone = train(tmp_path, "alone", width)

    def in_two(rank: int) -> None:
        losses = train(tmp_path, "two", width)
        assert losses == pytest.approx(alone, rel=1e-4)
        killed(tmp_path, "again", width, 2)
        assert len(train(tmp_path, "again", width)) == NUM_STEPS - 2
        killed(tmp_path, "changing", width, 1)

    for name in ("first", "last"):
        (tmp_path / name).mkdir()
    two_ranks.act_in_two(in_two, tmp_path / "first")
    killed(tmp_path, "changing", width, 2)
    last = functools.partial(train, tmp_path, "changing", width)
    two_ranks.act_in_two(lambda _: last(), tmp_path / "last")
    weights = {
        name: tensors.load(tmp_path / f"{name}.safetensors")
        for name in ("alone", "two", "again", "changing")
    }
    for name, weight in Blocks(width).state_dict().items():
        assert torch.equal(weights["again"][name], weights["two"][name])
        for other in ("two", "changing"):
            difference = (weights[other][name] - weights["alone"][name]).abs()
            assert (difference.max() if width == 128 else difference.mean()) < 1e-5
        assert (weights["alone"][name] - weight).abs().max() > RATE / 2
    kept = tensors.load(tmp_path / "alone" / "step-000004" / "tensors.safetensors")
    assert kept["optimizer.state1.blocks.0.weight"].dtype == torch.uint8
