"""Frozen linear layers in 4 bits, on which a LoRA learns: QLoRA (T. Dettmers, arXiv 2305.14314).

bitsandbytes holds a layer's weights as NF4 codes and computes with them in the layer's own format.
Scales are codes themselves (double quantisation), so that a weight takes about 4.1 bits. A layer is
restored to what it computed with: its rounded weights, no longer those that were read.
"""

import importlib.util
from typing import Any

import torch
from torch import nn

from dualipo.errors import ConfigError

# Bytes a weight: 4 bits, a scale of 8 bits for each 64 weights, one of 32 bits for 256 of those.
BYTES = 0.5 + 1 / 64 + 4 / (64 * 256)


def require_installed() -> None:
    """Refuse to hold weights in 4 bits where the library that does so is missing."""
    if importlib.util.find_spec("bitsandbytes") is None:
        raise ConfigError(
            "critic.load_in_4bit = true: bitsandbytes is not installed. Run `pip install "
            "bitsandbytes`, or set critic.load_in_4bit = false."
        )


def compress(module: nn.Module) -> None:
    """Hold every linear layer inside `module` in 4 bits from its next `to(device)` on."""
    for name, layer in list(module.named_modules()):
        if isinstance(layer, nn.Linear):
            module.set_submodule(name, _compressed(layer))


def restore(module: nn.Module) -> None:
    """Turn the layers in 4 bits inside `module` into plain ones of the same, rounded, weights."""
    for name, layer in list(module.named_modules()):
        if isinstance(layer, nn.Linear) and hasattr(layer.weight, "quant_state"):
            module.set_submodule(name, _whole(layer))


def _compressed(layer: nn.Linear) -> nn.Module:
    require_installed()
    import bitsandbytes  # optional, and slow to import

    with torch.device("meta"):
        small = bitsandbytes.nn.Linear4bit(
            layer.in_features,
            layer.out_features,
            bias=layer.bias is not None,
            compute_dtype=layer.weight.dtype,
            compress_statistics=True,
            quant_type="nf4",
        )
    small.support_avx512bf16_for_cpu = False  # else a CPU's first answer rounds the weights again
    small.weight = bitsandbytes.nn.Params4bit(
        layer.weight.data,
        requires_grad=False,
        compress_statistics=True,
        quant_type="nf4",
        module=small,
    )
    if layer.bias is not None:
        small.bias = nn.Parameter(layer.bias.data, requires_grad=False)
    plain: nn.Module = small
    return plain


def _whole(layer: Any) -> nn.Linear:
    import bitsandbytes

    weight = bitsandbytes.functional.dequantize_4bit(layer.weight.data, layer.weight.quant_state)
    with torch.device("meta"):
        whole = nn.Linear(layer.in_features, layer.out_features, bias=layer.bias is not None)
    whole.weight = nn.Parameter(weight, requires_grad=False)
    if layer.bias is not None:
        whole.bias = nn.Parameter(layer.bias.data, requires_grad=False)
    return whole
