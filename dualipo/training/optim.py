"""The optimizer, its learning rate as a pure function of the step, and its state as named tensors.

METHOD.md 4.5: AdamW (0.9, 0.95) with warm-up; the loop clips the gradient. Where a model is
trained from nothing, Muon may take the matrices of its layers (K. Jordan, 2024; scaled to AdamW's
step as in Moonshot AI, arXiv 2502.16982) and AdamW the rest. `adamw_8bit` is bitsandbytes', whose
moments take a quarter of the memory (Dettmers et al., arXiv 2110.02861). The schedule keeps no
state of its own, so that resuming needs the step number and nothing else. Leaves out parameter
groups: one rate and one weight decay serve all that is trained.
"""

import importlib.util
import math
from typing import Any

import torch
from torch import Tensor, nn

from dualipo import config
from dualipo.errors import ConfigError
from dualipo.training import eight_bit, ranks

# Names of torch's moments, then bitsandbytes': codes, scales by block, maps from code to number.
_MOMENTS = (
    *("step", "exp_avg", "exp_avg_sq", "momentum_buffer"),
    *("state1", "state2", "absmax1", "absmax2", "qmap1", "qmap2"),
)
MOMENT_BYTES = {"adamw": 8, "adamw_8bit": 2, "muon": 4}  # a trained weight
_SHARED = {"qmap1", "qmap2"}  # one small table for all weights


def trainable(model: nn.Module) -> dict[str, nn.Parameter]:
    """Return the parameters with `requires_grad` by name; one that two modules share comes once."""
    return {name: weight for name, weight in model.named_parameters() if weight.requires_grad}


def clip(weights: list[nn.Parameter], max_norm: float) -> float:
    """Scale the gradients so that the norm of all together is `max_norm` at most; return it.

    Where ranks hold some weights in parts and others whole, each kind is added up by itself.
    """
    if ranks.num_ranks() == 1:
        return float(torch.nn.utils.clip_grad_norm_(weights, max_norm))
    used = [weight for weight in weights if weight.grad is not None]
    kinds = [[weight.grad for weight in kind if weight.grad is not None] for kind in _alike(used)]
    norms = [ranks.whole(torch.nn.utils.get_total_norm(gradients)) for gradients in kinds]
    norm = float(torch.stack(norms).norm()) if norms else 0.0
    for gradient in (gradient for gradients in kinds for gradient in gradients):
        gradient.mul_(min(1.0, max_norm / (norm + 1e-6)))
    return norm


def _alike(weights: list[nn.Parameter]) -> list[list[nn.Parameter]]:
    """Divide weights into those that are sharded and the others; torch adds no two kinds up."""
    kinds = ([w for w in weights if ranks.is_sharded(w) is kind] for kind in (True, False))
    return [kind for kind in kinds if kind]


class Optimizer:
    """One or two of torch's optimizers that share the trainable parameters among them."""

    def __init__(self, model: nn.Module, settings: config.Optimizer) -> None:
        self._named = trainable(model)
        matrices = _matrices_of_layers(model) if settings.optimizer == "muon" else set()
        self._given = dict(self._named)  # to torch's optimizers: with 8 bits, this rank's parts
        if settings.optimizer == "adamw_8bit":
            sharded = {name: w for name, w in self._named.items() if ranks.is_sharded(w)}
            self._given |= {name: eight_bit.part_of(weight) for name, weight in sharded.items()}
        by_muon = [weight for name, weight in self._given.items() if name in matrices]
        others = [weight for name, weight in self._given.items() if name not in matrices]
        self._parts: list[torch.optim.Optimizer] = []
        if by_muon:
            self._parts.append(_muon(by_muon, settings))
        for weights in _alike(others):
            make = _adamw_8bit if settings.optimizer == "adamw_8bit" else _adamw
            self._parts.append(make(weights, settings))

    def step(self, rate: float) -> None:
        """Change the weights by their gradients at this learning rate."""
        for name, weight in self._parts_of_weights():
            eight_bit.take_gradient(self._given[name], weight)
        for part in self._parts:
            for group in part.param_groups:
                group["lr"] = rate
            part.step()

    def zero_grad(self) -> None:
        """Drop all gradients."""
        for part in self._parts:
            part.zero_grad(set_to_none=True)
        for _, weight in self._parts_of_weights():
            weight.grad = None

    def state_tensors(self) -> dict[str, Tensor]:
        """Return the state as `{"exp_avg.layer.weight": ...}`; empty before the first step.

        No two of them share memory, so that a file can hold them all.
        """
        parts = dict(self._parts_of_weights())
        tensors = {}
        for name, given in self._given.items():
            moments = self._moments(given)
            if name in parts:
                moments = eight_bit.saved(moments, parts[name])
            for moment, value in moments.items():
                shared = moment in _SHARED
                tensors[f"{moment}.{name}"] = value.clone() if shared else torch.as_tensor(value)
        return tensors

    def load_state_tensors(self, tensors: dict[str, Tensor]) -> None:
        """Put back what `state_tensors` returned, exactly, or another number of ranks' state."""
        for part in self._parts:
            own = {id(weight) for group in part.param_groups for weight in group["params"]}
            for name, given in self._given.items():
                kept = {
                    moment: tensors[f"{moment}.{name}"]
                    for moment in _MOMENTS
                    if f"{moment}.{name}" in tensors and id(given) in own
                }
                if "state1" in kept:
                    kept = eight_bit.restored(kept, self._named[name])
                if kept:
                    part.state[given] = {
                        moment: _restored(value, given.device) for moment, value in kept.items()
                    }

    def _parts_of_weights(self) -> list[tuple[str, nn.Parameter]]:
        """Return the weights of which the optimizer has this rank's part alone, by name."""
        return [(n, w) for n, w in self._named.items() if self._given[n] is not w]

    def _moments(self, given: nn.Parameter) -> dict[str, Any]:
        """Return what an optimizer keeps for a weight."""
        return {
            k: v
            for part in self._parts
            if given in part.state
            for k, v in part.state[given].items()
        }


def _adamw(weights: list[nn.Parameter], settings: config.Optimizer) -> torch.optim.Optimizer:
    return torch.optim.AdamW(
        weights,
        lr=settings.learning_rate,
        betas=(settings.adam_beta1, settings.adam_beta2),
        eps=settings.adam_epsilon,
        weight_decay=settings.adam_weight_decay,
        fused=True,
    )


def _adamw_8bit(weights: list[nn.Parameter], settings: config.Optimizer) -> torch.optim.Optimizer:
    require_installed(settings)
    import bitsandbytes  # optional, and slow to import

    adamw: torch.optim.Optimizer = bitsandbytes.optim.AdamW8bit(
        weights,
        lr=settings.learning_rate,
        betas=(settings.adam_beta1, settings.adam_beta2),
        eps=settings.adam_epsilon,
        weight_decay=settings.adam_weight_decay,
    )
    return adamw


def trainings(settings: config.Config) -> dict[str, config.Optimizer]:
    """Return the settings of every training that a run may do, by the key of their group."""
    return {
        "align": settings.align,
        "warm_start_sft": settings.warm_start_sft,
        "warm_start_dpo": settings.warm_start_dpo,
        "refresh.srpo": settings.refresh.srpo,
    }


def require_installed(settings: config.Optimizer, *, group: str = "align") -> None:
    """Refuse an optimizer whose library is missing: a run asks before its first stage."""
    if settings.optimizer == "adamw_8bit" and importlib.util.find_spec("bitsandbytes") is None:
        raise ConfigError(
            f'{group}.optimizer = "adamw_8bit": bitsandbytes is not installed. Run `pip install '
            f'bitsandbytes`, or set {group}.optimizer = "adamw".'
        )


def _restored(value: Tensor, device: torch.device) -> Tensor | int:
    """Return a saved value as its optimizer keeps it.

    bitsandbytes counts steps in a plain integer, torch in a tensor of float32.
    """
    if value.ndim == 0 and not value.is_floating_point():
        return int(value)
    return value.to(device, copy=True)


def _muon(weights: list[nn.Parameter], settings: config.Optimizer) -> torch.optim.Optimizer:
    return torch.optim.Muon(
        weights,
        lr=settings.learning_rate,
        weight_decay=settings.adam_weight_decay,
        adjust_lr_fn="match_rms_adamw",
    )


def _matrices_of_layers(model: nn.Module) -> set[str]:
    """Name the linear weights inside numbered layers: no embedding, no head, no bias."""
    return {
        f"{name}.weight"
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear) and any(part.isdigit() for part in name.split("."))
    }


def learning_rate(step: int, settings: config.Optimizer) -> float:
    """Return the rate of step `step` (from 0): linear warm-up, then constant, linear or cosine."""
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
