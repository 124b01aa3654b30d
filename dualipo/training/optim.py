"""AdamW, its learning rate as a pure function of the step, and its state as named tensors.

METHOD.md 4.5: AdamW (0.9, 0.95), warm-up, clipping (which stands in the loop). The schedule keeps
no state of its own, so that resuming needs the step number and nothing else. Leaves out parameter
groups: one rate and one weight decay serve all that is trained.
"""

import math

import torch
from torch import Tensor, nn

from dualipo.config import Optimizer

_MOMENTS = ("step", "exp_avg", "exp_avg_sq")


def trainable(model: nn.Module) -> dict[str, nn.Parameter]:
    """The parameters with `requires_grad`, by name; one shared by two modules stands here once."""
    return {name: weight for name, weight in model.named_parameters() if weight.requires_grad}


def build(model: nn.Module, settings: Optimizer) -> torch.optim.AdamW:
    """AdamW over the trainable parameters, in the order of `trainable`."""
    return torch.optim.AdamW(
        list(trainable(model).values()),
        lr=settings.learning_rate,
        betas=(settings.adam_beta1, settings.adam_beta2),
        eps=settings.adam_epsilon,
        weight_decay=settings.adam_weight_decay,
        fused=True,
    )


def learning_rate(step: int, settings: Optimizer) -> float:
    """The rate of step `step` (from 0): linear warm-up, then constant, linear or cosine decay."""
    if step < settings.lr_warmup_steps:
        return settings.learning_rate * (step + 1) / settings.lr_warmup_steps
    num_decaying = max(1, settings.max_train_steps - settings.lr_warmup_steps)
    progress = min(1.0, (step - settings.lr_warmup_steps) / num_decaying)
    factor = {
        "constant": 1.0,
        "linear": 1.0 - progress,
        "cosine": 0.5 * (1.0 + math.cos(math.pi * progress)),
    }[settings.lr_scheduler]
    return settings.learning_rate * factor


def state_tensors(optimizer: torch.optim.AdamW, model: nn.Module) -> dict[str, Tensor]:
    """The optimizer's state as `{"exp_avg.layer.weight": ...}`; empty before the first step."""
    return {
        f"{moment}.{name}": optimizer.state[weight][moment]
        for name, weight in trainable(model).items()
        if weight in optimizer.state
        for moment in _MOMENTS
    }


def load_state_tensors(
    optimizer: torch.optim.AdamW, *, model: nn.Module, tensors: dict[str, Tensor]
) -> None:
    """Put back what `state_tensors` returned, exactly."""
    for name, weight in trainable(model).items():
        if f"step.{name}" in tensors:
            optimizer.state[weight] = {
                moment: tensors[f"{moment}.{name}"].to(weight.device, copy=True)
                for moment in _MOMENTS
            }
