"""The inner loop: exact resume, accumulation that does not matter, and a stop before a bad step."""

import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from dualipo import interrupt
from dualipo.config import Optimizer
from dualipo.errors import CheckpointError, StageError
from dualipo.training.loop import Metrics, train


class Regression:
    """A model with dropout, so that resume is exact only if each step is reseeded."""

    def __init__(self) -> None:
        torch.manual_seed(0)
        self.model = nn.Sequential(nn.Linear(4, 8), nn.Dropout(0.5), nn.Linear(8, 1))
        self.num_prepared = 0

    def prepare(self, micro_batches: list[dict[str, Any]]) -> Tensor:
        self.num_prepared += 1
        return torch.cat([part["x"] for part in micro_batches]).mean()

    def loss(self, micro_batch: dict[str, Any], prepared: Tensor) -> tuple[Tensor, Metrics]:
        error = self.model(micro_batch["x"] - prepared).sum(-1) - micro_batch["y"]
        return error.pow(2).mean(), {"error": float(error.detach().abs().mean())}

    def state(self) -> dict[str, Any]:
        return {"num_prepared": self.num_prepared}

    def load_state(self, state: dict[str, Any]) -> None:
        self.num_prepared = state["num_prepared"]


def batches(step: int) -> dict[str, Any]:
    generator = torch.Generator().manual_seed(step)
    x = torch.randn(6, 4, generator=generator)
    return {"x": x, "y": x.sum(-1), "ids": [f"{step}-{k}" for k in range(6)]}


def run(objective: Regression, folder: Path, **overrides: Any) -> Any:
    on_step, watch = overrides.pop("on_step", None), overrides.pop("watch", None)
    settings = Optimizer(
        **{
            "learning_rate": 1e-2,
            "max_train_steps": 9,
            "checkpointing_steps": 3,
            "lr_scheduler": "cosine",
            "lr_warmup_steps": 2,
        }
    ).model_copy(update=overrides)  # unchecked: one test needs a rate that no recipe may have
    return train(
        objective.model, objective, batches=batches, settings=settings, seed=7,
        checkpoint_folder=folder, on_step=on_step, ema_decay=0.9, watch=watch,
    )  # fmt: skip


def weights(objective: Regression) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in objective.model.state_dict().items()}


def equal(first: dict[str, Tensor], second: dict[str, Tensor]) -> bool:
    return all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
@pytest.mark.parametrize("killed_at", [1, 3, 7])
def test_fault_6_killed_and_resumed_run_gives_bit_equal_weights(
    tmp_path: Path, killed_at: int, optimizer: str
) -> None:
    clean = Regression()
    expected = run(clean, tmp_path / "clean", optimizer=optimizer)

    def kill(step: int, metrics: Metrics) -> None:
        if step == killed_at:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(Regression(), tmp_path / "killed", on_step=kill, optimizer=optimizer)
    resumed = Regression()
    result = run(resumed, tmp_path / "killed", optimizer=optimizer)
    assert equal(weights(resumed), weights(clean))
    assert equal(result.ema, expected.ema) and not equal(result.ema, weights(clean))
    assert resumed.num_prepared == clean.num_prepared == 9
    again = Regression()
    finished = run(again, tmp_path / "killed", optimizer=optimizer)
    assert finished.num_steps == 9 and finished.metrics == expected.metrics
    assert equal(weights(again), weights(clean))


class Falling:
    """A measurement that is best after the first step and falls from then on."""

    every, patience = 1, 5

    def __init__(self) -> None:
        self.num_measured = 0

    def measure(self) -> Metrics:
        self.num_measured += 1
        return {"measured": float(-self.num_measured)}

    def score(self, measured: Metrics) -> tuple[float, ...]:
        return (measured["measured"],)


def test_fault_6_the_best_weights_outlive_a_kill_behind_their_step(tmp_path: Path) -> None:
    """The best step is the first; the run is killed behind the checkpoint of the third."""

    def die(step: int, metrics: Metrics) -> None:
        if step == 4:
            raise KeyboardInterrupt

    whole, killed, resumed = Regression(), Regression(), Regression()
    expected = run(whole, tmp_path / "whole", watch=Falling())
    watch = Falling()
    with pytest.raises(KeyboardInterrupt):
        run(killed, tmp_path / "killed", watch=watch, on_step=die)
    watch.num_measured = 3
    result = run(resumed, tmp_path / "killed", watch=watch)
    assert (result.num_steps, result.best_step) == (expected.num_steps, 1) == (6, 1)
    assert equal(weights(resumed), weights(whole))


def test_accumulation_gives_the_global_batch_s_gradient(tmp_path: Path) -> None:
    logged: dict[int, list[Metrics]] = {}
    for parts in (1, 4):  # micro batches of 2, 2, 2 and of 6
        objective = Regression()
        objective.model[1].p = 0.0
        logged[parts] = []
        run(
            objective, tmp_path / str(parts), gradient_accumulation_steps=parts,
            on_step=lambda _, metrics, parts=parts: logged[parts].append(metrics),
        )  # fmt: skip
    for whole, split in zip(logged[1], logged[4], strict=True):
        assert whole == pytest.approx(split, rel=1e-4)


class Crowded(Regression):
    """A regression on a device that holds `room` items at a time."""

    room = 2

    def loss(self, micro_batch: dict[str, Any], prepared: Tensor) -> tuple[Tensor, Metrics]:
        if len(micro_batch["y"]) > self.room:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        return super().loss(micro_batch, prepared)


def test_fault_26_micro_batches_halve_and_the_step_stays(tmp_path: Path) -> None:
    """Going from 6 items to 3 to 2 at a time gives the steps of 2 at a time, bit for bit."""
    asked, crowded = Regression(), Crowded()
    expected = run(asked, tmp_path / "asked", gradient_accumulation_steps=4)
    result = run(crowded, tmp_path / "crowded")
    assert equal(weights(crowded), weights(asked)) and result.metrics == expected.metrics
    assert crowded.num_prepared == 9 + 2  # it is remembered what fitted

    def kill(step: int, metrics: Metrics) -> None:
        if step == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(Crowded(), tmp_path / "killed", on_step=kill)
    resumed = Crowded()
    run(resumed, tmp_path / "killed")
    assert equal(weights(resumed), weights(asked)) and resumed.num_prepared == 9 + 2


def test_fault_26_one_item_that_does_not_fit_is_an_error(tmp_path: Path) -> None:
    objective = Crowded()
    objective.room = 0
    before = weights(objective)
    with pytest.raises(StageError, match=r"step 0: one item at a time.*2\.00 GiB.*checkpointing"):
        run(objective, tmp_path)
    assert equal(weights(objective), before)


def test_fault_25_stops_before_the_step_and_names_it(tmp_path: Path) -> None:
    objective = Regression()
    before: list[dict[str, Tensor]] = []
    with pytest.raises(StageError, match=r"step 1.*'1-0'.*learning_rate"):
        run(
            objective, tmp_path, learning_rate=1e20, lr_warmup_steps=0,
            on_step=lambda step, metrics: before.append(weights(objective)),
        )  # fmt: skip
    assert equal(weights(objective), before[-1])


class Steep(Regression):
    """A regression whose loss is finite where its gradient is not: the root at 0."""

    def loss(self, micro_batch: dict[str, Any], prepared: Tensor) -> tuple[Tensor, Metrics]:
        error, metrics = super().loss(micro_batch, prepared)
        return error + (0 * self.model[2].bias.sum()).sqrt(), metrics


def test_fault_25_a_gradient_that_is_not_finite_stops_before_the_step(tmp_path: Path) -> None:
    objective = Steep()
    before = weights(objective)
    with pytest.raises(StageError, match=r"step 0: grad_norm not finite; batch: \['0-0'"):
        run(objective, tmp_path)
    assert equal(weights(objective), before)


def test_fault_12_a_flipped_bit_costs_steps_and_changes_no_weight(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    clean, resumed = Regression(), Regression()
    run(clean, tmp_path / "clean")
    run(Regression(), tmp_path / "killed", max_train_steps=6)
    damaged = tmp_path / "killed" / "step-000006" / "tensors.safetensors"
    content = bytearray(damaged.read_bytes())
    content[-3] ^= 4
    damaged.write_bytes(content)
    steps: list[int] = []
    run(resumed, tmp_path / "killed", on_step=lambda step, _: steps.append(step))
    assert steps[0] == 3 and equal(weights(resumed), weights(clean))
    assert "step-000006: tensors.safetensors differs from its hash" in caplog.text


def test_another_run_s_checkpoint_is_refused(tmp_path: Path) -> None:
    run(Regression(), tmp_path)
    other = Regression()
    other.model.append(nn.Linear(1, 1))
    with pytest.raises(CheckpointError, match="another folder"):
        run(other, tmp_path)


def test_frozen_parameters_stay(tmp_path: Path) -> None:
    objective = Regression()
    objective.model[0].requires_grad_(False)
    before = weights(objective)
    run(objective, tmp_path)
    after = weights(objective)
    assert torch.equal(before["0.weight"], after["0.weight"])
    assert not torch.equal(before["2.weight"], after["2.weight"])


def test_fault_10_sigterm_saves_and_leaves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clean, interrupted = Regression(), Regression()
    run(clean, tmp_path / "clean")

    def terminate() -> None:
        if interrupted.num_prepared == 4:
            raise interrupt.Interrupted(signal.SIGTERM)

    monkeypatch.setattr(interrupt, "check", terminate)
    with pytest.raises(interrupt.Interrupted):
        run(interrupted, tmp_path / "killed")
    monkeypatch.undo()
    steps: list[int] = []
    resumed = Regression()
    run(resumed, tmp_path / "killed", on_step=lambda step, _: steps.append(step))
    assert steps[0] == 4 and equal(weights(resumed), weights(clean))
