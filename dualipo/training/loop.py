"""The one training loop; the generator's alignment, the critic's trainings and pretraining use it.

    restore the newest checkpoint, if there is one
    for each step:
        seed torch by (seed, step)
        split the batch into micro batches; objective.prepare(micro batches)
        for each micro batch: objective.loss, backward          out of memory: split finer, again
        clip the gradient; refuse a loss or gradient that is not finite
        optimizer step; average the weights, if asked
        measure what is not trained on, if asked; end early where that brings no more gain
        save a checkpoint, if it is due

Step `n` is a pure function of the weights, the seed and `batches(n)`: torch is seeded anew for
every step and the schedule has no state. So a killed and resumed training gives the weights of an
uninterrupted one bit for bit (FAULTS.md 6). The finite check comes before the optimizer step, so a
refused step leaves the weights as they were (fault 25). Micro batches halve where memory is short
(fault 26). Where several ranks train (ranks.py), each hands in its share of the batch and gets the
whole batch's step.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from dualipo import interrupt, seeds
from dualipo.config import Optimizer
from dualipo.errors import CheckpointError, StageError
from dualipo.store import checkpoint
from dualipo.training import early_stop, optim, ranks, sharded
from dualipo.training.early_stop import Best, Watch
from dualipo.training.memory import within_memory
from dualipo.training.precision import forward_pass

Metrics = dict[str, float]


class Objective(Protocol):
    """A loss to minimise. It holds its model; the loop holds the optimizer.

    The default methods are those of an objective whose items are independent and that remembers
    nothing.
    """

    def prepare(self, micro_batches: list[Any]) -> Any:
        """Compute what the micro batches share: constants, never part of the graph."""
        return None

    def loss(self, micro_batch: Any, prepared: Any) -> tuple[Tensor, Metrics]:
        """Return the mean loss over the micro batch's items, and what to log."""
        ...

    def state(self) -> dict[str, Any]:
        """Return what must survive a restart, as plain values."""
        return {}

    def load_state(self, state: dict[str, Any]) -> None:
        """Put back what `state` returned."""
        return None


@dataclass(frozen=True)
class TrainResult:
    """The end of a training: the weights are in the model, their running averages in `ema`.

    `history` holds the finite metrics of every step, also of those before the last restart.
    `best_step` counts the steps of the weights, where a watch chose them; `num_steps` counts all.
    """

    num_steps: int
    metrics: Metrics
    ema: dict[str, Tensor] | None
    history: list[Metrics]
    best_step: int | None = None


@dataclass
class _Progress:
    """All that changes while training, and so all that a checkpoint holds."""

    model: nn.Module
    optimizer: optim.Optimizer
    objective: Objective
    ema: dict[str, Tensor] | None
    seed: int
    num_micro_batches: int
    step: int = 0
    metrics: Metrics = field(default_factory=dict)  # the last step's
    history: list[Metrics] = field(default_factory=list)  # every step's, as far as they are finite
    best: Best = field(default_factory=Best)  # of a watch's measurements


def train(
    model: nn.Module,
    objective: Objective,
    *,
    batches: Callable[[int], Any],
    settings: Optimizer,
    checkpoint_folder: Path,
    seed: int,
    on_step: Callable[[int, Metrics], None] | None = None,
    split: Callable[[Any, int], list[Any]] | None = None,
    ema_decay: float | None = None,
    watch: Watch | None = None,
) -> TrainResult:
    """Train what requires a gradient up to `max_train_steps`, from the last checkpoint on.

    A `watch` measures what is not trained on, and may end the training earlier.
    """
    ema = None if ema_decay is None else _copies(optim.trainable(model))
    parts = settings.gradient_accumulation_steps
    progress = _Progress(model, optim.Optimizer(model, settings), objective, ema, seed, parts)
    _restore(progress, checkpoint_folder)
    was_training = model.training
    model.train()
    while progress.step < settings.max_train_steps and not early_stop.is_over(progress.best, watch):
        progress.metrics = _step(progress, batches(progress.step), settings, split or split_batch)
        if ema is not None and ema_decay is not None:
            _average(ema, optim.trainable(model), ema_decay)
        progress.step += 1
        _observe_if_due(progress, watch, settings)
        progress.history.append({k: v for k, v in progress.metrics.items() if math.isfinite(v)})
        if on_step is not None:
            on_step(progress.step - 1, progress.metrics)
        is_over = early_stop.is_over(progress.best, watch)
        _save_if_due(progress, checkpoint_folder, settings, is_over=is_over)
    model.train(was_training)
    best, trained = progress.best, _trained(model)
    for name, weight in best.weights.items():
        trained[name].copy_(weight)
    if not best.weights:
        return TrainResult(progress.step, progress.metrics, ema, progress.history)
    measured = progress.metrics | best.measured
    return TrainResult(progress.step, measured, ema, progress.history, best.step)


def _observe_if_due(progress: _Progress, watch: Watch | None, settings: Optimizer) -> None:
    """Add a watch's measurement to the step's metrics, every so many steps and at the last."""
    if watch is None:
        return
    if progress.step % watch.every == 0 or progress.step == settings.max_train_steps:
        progress.metrics |= early_stop.observe(
            progress.best, watch, step=progress.step, weights=_trained(progress.model)
        )


def split_batch(batch: dict[str, Any], num_micro_batches: int) -> list[dict[str, Any]]:
    """Split a dict of tensors and lists on their first axis; the last part may be smaller."""
    num_items = batch_size(batch)
    width = math.ceil(num_items / num_micro_batches)
    return [
        {name: values[start : start + width] for name, values in batch.items()}
        for start in range(0, num_items, width)
    ]


def batch_size(batch: Any) -> int:
    """Count a batch's items: the first axis of a dict's first entry, else its length."""
    return len(next(iter(batch.values())) if isinstance(batch, dict) else batch)


def _step(
    progress: _Progress,
    batch: Any,
    settings: Optimizer,
    split: Callable[[Any, int], list[Any]],
) -> Metrics:
    """Take one optimizer step; leave the weights alone where loss or gradient is not finite."""
    weights = list(optim.trainable(progress.model).values())
    rate = optim.learning_rate(progress.step, settings)
    metrics, progress.num_micro_batches = within_memory(
        lambda num_parts: _accumulate(progress, batch, settings, split(batch, num_parts)),
        num_parts=progress.num_micro_batches,
        num_items=batch_size(batch),
        subject=f"training step {progress.step}",
    )
    ranks.average_gradients(weights)
    norm = optim.clip(weights, settings.max_grad_norm)
    metrics = ranks.mean(metrics) | {"grad_norm": norm, "learning_rate": rate}
    _require_finite(metrics, progress.step, batch)
    progress.optimizer.step(rate)
    progress.optimizer.zero_grad()
    return metrics


def _accumulate(
    progress: _Progress, batch: Any, settings: Optimizer, micro_batches: list[Any]
) -> Metrics:
    """Sum the micro batches' gradients, weighted by size: the gradient of the batch's mean."""
    torch.manual_seed(seeds.derive(progress.seed, "step", progress.step))
    device = next(iter(optim.trainable(progress.model).values())).device.type
    with forward_pass(device, settings):
        prepared = progress.objective.prepare(micro_batches)
    progress.optimizer.zero_grad()
    metrics = Metrics()
    for micro_batch in micro_batches:
        share = batch_size(micro_batch) / batch_size(batch)
        with forward_pass(device, settings):
            loss, logged = progress.objective.loss(micro_batch, prepared)
        (loss * share).backward()
        for name, value in {"loss": float(loss.detach()), **logged}.items():
            metrics[name] = metrics.get(name, 0.0) + share * value
    return metrics


def _require_finite(metrics: Metrics, step: int, batch: Any) -> None:
    broken = [name for name in ("loss", "grad_norm") if not math.isfinite(metrics[name])]
    if broken:
        ids = list(batch["ids"]) if isinstance(batch, dict) and "ids" in batch else "unnamed"
        raise StageError(
            f"training step {step}: {', '.join(broken)} not finite; batch: {ids}. The weights are "
            "those before this step. Lower learning_rate, or leave these items out."
        )


def _save_if_due(progress: _Progress, folder: Path, settings: Optimizer, *, is_over: bool) -> None:
    """Save at every `checkpointing_steps`, at the end, and before an interrupt (fault 10)."""
    done = is_over or progress.step == settings.max_train_steps
    due = done or progress.step % settings.checkpointing_steps == 0
    if due:
        _save(progress, folder, settings)
    try:
        interrupt.check()
    except interrupt.Interrupted:
        if not due:
            _save(progress, folder, settings)
        raise


def _save(progress: _Progress, folder: Path, settings: Optimizer) -> None:
    named = {
        "model": _trained(progress.model),
        "optimizer": progress.optimizer.state_tensors(),
        "ema": progress.ema or {},
        "best": progress.best.weights,
    }
    save = sharded.save if ranks.num_ranks() > 1 else checkpoint.save
    save(
        folder,
        step=progress.step,
        tensors={
            f"{part}.{name}": tensor
            for part, tensors in named.items()
            for name, tensor in tensors.items()
        },
        state={
            "seed": progress.seed,
            "objective": progress.objective.state(),
            "metrics": progress.metrics,
            "history": progress.history,
            "num_micro_batches": progress.num_micro_batches,
            **({} if progress.best.step is None else {"best": progress.best.state()}),
        },
        total_limit=settings.checkpoints_total_limit,
    )


def _restore(progress: _Progress, folder: Path) -> None:
    trained = _trained(progress.model)
    saved = sharded.load_latest(folder, weights=trained)
    if saved is None:
        return
    weights, ema = _part(saved.tensors, "model"), _part(saved.tensors, "ema")
    is_ours = trained.keys() == weights.keys() and (progress.ema or {}).keys() == ema.keys()
    if saved.state["seed"] != progress.seed or not is_ours:
        raise CheckpointError(
            f"{folder}: its checkpoint is another training's (seed {saved.state['seed']}, "
            f"{len(weights)} tensors; this one has seed {progress.seed}, {len(trained)} tensors). "
            "Train in another folder."
        )
    for name, tensor in trained.items():
        tensor.data.copy_(weights[name])
    progress.optimizer.load_state_tensors(_part(saved.tensors, "optimizer"))
    for name, average in (progress.ema or {}).items():
        average.copy_(ema[name])
    progress.objective.load_state(saved.state["objective"])
    progress.step = saved.step
    progress.metrics = saved.state.get("metrics", {})
    progress.history = saved.state.get("history", [])
    if "best" in saved.state:
        device = next(iter(trained.values())).device
        kept = {name: w.to(device) for name, w in _part(saved.tensors, "best").items()}
        progress.best.load(saved.state["best"], kept)
    progress.num_micro_batches = saved.state.get("num_micro_batches", progress.num_micro_batches)


def _trained(model: nn.Module) -> dict[str, Tensor]:
    """Return what training changes: the trainable parameters, and buffers that the model saves."""
    saved = model.state_dict().keys()
    buffers = {name: buffer for name, buffer in model.named_buffers() if name in saved}
    return {**{name: weight.data for name, weight in optim.trainable(model).items()}, **buffers}


def _part(tensors: dict[str, Tensor], part: str) -> dict[str, Tensor]:
    prefix = part + "."
    return {name.removeprefix(prefix): t for name, t in tensors.items() if name.startswith(prefix)}


def _copies(weights: dict[str, nn.Parameter]) -> dict[str, Tensor]:
    return {name: weight.detach().clone() for name, weight in weights.items()}


@torch.no_grad()
def _average(ema: dict[str, Tensor], weights: dict[str, nn.Parameter], decay: float) -> None:
    for name, weight in weights.items():
        ema[name].lerp_(weight, 1.0 - decay)
