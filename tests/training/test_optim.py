"""The schedule's shape, and AdamW with moments of 8 bits."""

import importlib.util
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from dualipo.config import Optimizer
from dualipo.errors import ConfigError
from dualipo.store import tensors
from dualipo.training import optim
from dualipo.training.optim import learning_rate


@pytest.mark.parametrize(
    ("scheduler", "halfway", "last"),
    [("constant", 1.0, 1.0), ("linear", 0.5, 0.1), ("cosine", 0.5, 0.0245)],
)
def test_schedule_warms_up_then_decays(scheduler: str, halfway: float, last: float) -> None:
    settings = Optimizer(
        learning_rate=2.0, max_train_steps=14, lr_warmup_steps=4, lr_scheduler=scheduler
    )
    rates = [learning_rate(step, settings) / 2.0 for step in range(14)]
    assert rates[:5] == [0.25, 0.5, 0.75, 1.0, 1.0]
    assert rates[9] == pytest.approx(halfway)
    assert rates[13] == pytest.approx(last, abs=1e-3)


def regression(optimizer: str) -> tuple[nn.Module, optim.Optimizer, Callable[[int], float]]:
    """Weights of 8,192 numbers (smaller ones keep whole moments), and a step towards a map."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(128, 128), nn.Linear(128, 64))
    wanted = torch.randn(64, 128)
    settings = Optimizer(learning_rate=1e-2, max_train_steps=60, optimizer=optimizer)
    adam = optim.Optimizer(model, settings)

    def step(number: int) -> float:
        given = torch.randn(64, 128, generator=torch.Generator().manual_seed(number))
        loss = (model(given) - given @ wanted.T).square().mean()
        loss.backward()
        adam.step(1e-2)
        adam.zero_grad()
        return float(loss.detach())

    return model, adam, step


def test_moments_of_8_bits_learn_as_whole_ones_do_and_resume_exactly(tmp_path: Path) -> None:
    pytest.importorskip("bitsandbytes")
    losses = {}
    for optimizer in ("adamw", "adamw_8bit"):
        _, adam, step = regression(optimizer)
        losses[optimizer] = [step(number) for number in range(60)]
    assert losses["adamw_8bit"][-1] == pytest.approx(losses["adamw"][-1], rel=0.1)
    assert losses["adamw_8bit"][-1] < 0.6 * losses["adamw_8bit"][0]
    assert adam.state_tensors()["state1.0.weight"].dtype == torch.uint8
    model, adam, step = regression("adamw_8bit")
    for number in range(3):
        step(number)
    resumed, again, go_on = regression("adamw_8bit")
    resumed.load_state_dict(model.state_dict())
    tensors.save(tmp_path / "state.safetensors", adam.state_tensors(), metadata={})
    again.load_state_tensors(tensors.load(tmp_path / "state.safetensors"))
    assert [go_on(number) for number in (3, 4)] == [step(number) for number in (3, 4)]
    for weight, expected in zip(resumed.parameters(), model.parameters(), strict=True):
        assert torch.equal(weight, expected)


def test_a_missing_library_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match="pip install bitsandbytes"):
        regression("adamw_8bit")
