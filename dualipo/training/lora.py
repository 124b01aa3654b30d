"""Low-rank adapters through PEFT, and diffusers' `add_adapter` (METHOD.md 4.5, 3.3).

An adapter begins as nothing (B = 0), so the model with it is the reference until the first step.
After training it is saved as the ecosystem's `pytorch_lora_weights.safetensors`, which a stock
pipeline takes with `load_lora_weights` on the weights that training began from. Then it is merged:
the next round starts, and measures its reference, on merged weights. All rounds' adapters together,
each at scale 1, are what all of them learnt. A critic's language model takes an adapter and absorbs
it in place (`inject`, `absorb`): a version of a critic is whole weights, which servers load. Leaves
out a dropout: cached reference errors exclude it.

Where several ranks share a model (training/ranks.py), it takes its adapter before it is sharded.
All ranks call these functions then, and each merges its own part of the weights.
"""

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

import torch
from peft import LoraConfig, inject_adapter_in_model
from peft.tuners.lora import LoraLayer
from peft.utils import get_peft_model_state_dict
from torch import Tensor, nn

from dualipo.errors import ModelError
from dualipo.seeds import derive
from dualipo.store import tensors
from dualipo.training import optim, ranks

# The linear layers of the language models that critics have.
LANGUAGE = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
ADAPTER_FILE = "pytorch_lora_weights.safetensors"


class Settings(Protocol):
    """The settings of an adapter: its rank, and alpha if that is not the rank."""

    @property
    def rank(self) -> int: ...

    @property
    def lora_alpha(self) -> int | None: ...


def attach(
    module: Any, *, targets: tuple[str, ...], settings: Settings, seed: int
) -> dict[str, nn.Parameter]:
    """Freeze a diffusers model, add an adapter in float32 to `targets`, and return its weights."""
    module.requires_grad_(False)
    with torch.random.fork_rng():
        torch.manual_seed(derive(seed, "lora"))
        module.add_adapter(_config(targets, settings))
    return _ready(module, targets)


def inject(module: nn.Module, *, settings: Settings, seed: int) -> dict[str, nn.Parameter]:
    """Freeze a language model, add an adapter to its linear layers, and return its weights."""
    module.requires_grad_(False)
    try:
        with torch.random.fork_rng():
            torch.manual_seed(derive(seed, "lora"))
            inject_adapter_in_model(_config(LANGUAGE, settings), module)
    except ValueError as refusal:
        raise ModelError(
            f"{type(module).__name__}: takes no LoRA ({refusal}). Set rank=0."
        ) from refusal
    return _ready(module, LANGUAGE)


@contextlib.contextmanager
def left_out(module: nn.Module) -> Iterator[None]:
    """Compute without the adapter inside this context: as the model that it stands on.

    PEFT's own switch would turn `requires_grad` off and on, which FSDP2 reads once and keeps.
    """
    layers = [layer for layer in module.modules() if isinstance(layer, LoraLayer)]
    for layer in layers:
        layer._disable_adapters = True
    try:
        yield
    finally:
        for layer in layers:
            layer._disable_adapters = False


def without(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return a state dict as it was before an adapter was attached."""
    return {
        name.replace(".base_layer.", "."): weight
        for name, weight in state.items()
        if ".lora_" not in name
    }


def num_weights(module: nn.Module, *, rank: int, targets: tuple[str, ...] = LANGUAGE) -> int:
    """Count the weights of an adapter: a row and a column for each of its ranks."""
    return sum(
        rank * (linear.in_features + linear.out_features)
        for name, linear in module.named_modules()
        if isinstance(linear, nn.Linear) and name.endswith(tuple(f".{t}" for t in targets))
    )


def absorb(module: nn.Module) -> None:
    """Merge an injected adapter into the weights below it and remove it, if there is one."""
    for name, layer in list(module.named_modules()):
        if isinstance(layer, LoraLayer):
            layer.merge()
            module.set_submodule(name, layer.get_base_layer())
    if hasattr(module, "peft_config"):
        del module.peft_config


def save(module: nn.Module, path: Path) -> None:
    """Write the adapter for a stock pipeline's transformer; the first rank writes.

    Its scale alpha / rank goes into B, so that every loader's default, scale 1, is right.
    """
    scale = _scale(module)
    named = {}
    for name, weight in get_peft_model_state_dict(module, adapter_name="default").items():
        whole = ranks.whole(weight)
        named[f"transformer.{name}"] = whole * scale if ".lora_B." in name else whole
    if ranks.rank() == 0:
        tensors.save(path, named, metadata={"format": "pt"})
    ranks.wait()


def merge(module: Any) -> None:
    """Merge a diffusers model's adapter into the weights below it, and remove it."""
    module.fuse_lora()
    module.unload_lora()
    module.requires_grad_(True)


def _config(targets: tuple[str, ...], settings: Settings) -> LoraConfig:
    alpha = settings.lora_alpha or settings.rank
    return LoraConfig(r=settings.rank, lora_alpha=alpha, target_modules=list(targets))


def _ready(module: nn.Module, targets: tuple[str, ...]) -> dict[str, nn.Parameter]:
    """Turn the adapter's weights into float32, and return them."""
    trainable = optim.trainable(module)
    if not trainable:
        raise ModelError(
            f"{type(module).__name__}: none of {', '.join(targets)} is in it. Set rank=0."
        )
    for weight in trainable.values():
        weight.data = weight.data.float()  # a learning rate of 1e-5 rounds away in bfloat16
    return trainable


def _scale(module: Any) -> float:
    settings = module.peft_config["default"]
    return settings.lora_alpha / settings.r
