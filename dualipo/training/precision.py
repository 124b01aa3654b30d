"""The precision in which models compute and weights train: bfloat16 where the recipe asks for it.

`autocast` is for sampling and judging. `forward_pass` is for training, and it also chooses the
quicker attention: on a CPU the library's fused kernel goes backwards in float32 up to three times
as fast as plain matrix products or itself do in bfloat16, at a few hundred tokens. So attention
alone is computed in float32 there. On other devices the library's own choice stands. Whatever is
compared with a training step's loss, like an
alignment's reference errors, must be computed inside `forward_pass` too: a difference of rounding
is a difference of z.

`train_in_float32` is for weights that train beside frozen ones in half precision: an update of
1e-5 would round away in bfloat16.
"""

import contextlib
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from dualipo.config import Critic, Generator, Optimizer


def autocast(
    device: torch.device | str, settings: Optimizer | Generator | Critic
) -> torch.autocast:
    """Return a context that computes in bfloat16 if `settings.mixed_precision` says so."""
    enabled = settings.mixed_precision == "bf16"
    return torch.autocast(torch.device(device).type, torch.bfloat16, enabled)


@contextlib.contextmanager
def forward_pass(device: torch.device | str, settings: Optimizer) -> Iterator[None]:
    """Enter the context in which a training with these settings makes its forward passes."""
    with contextlib.ExitStack() as stack:
        stack.enter_context(autocast(device, settings))
        if takes_wide_attention(device, settings):
            stack.enter_context(wide_attention())
        yield


def takes_wide_attention(device: torch.device | str, settings: Optimizer) -> bool:
    """Tell whether a training's attention is computed in float32, and the rest in bfloat16."""
    return torch.device(device).type == "cpu" and settings.mixed_precision == "bf16"


_is_wide: ContextVar[bool] = ContextVar("_is_wide", default=False)


@contextlib.contextmanager
def wide_attention() -> Iterator[None]:
    """Compute attention in float32 inside this context, where autocast has bfloat16."""
    before = _is_wide.set(True)
    try:
        with _WideAttention():
            yield
    finally:
        _is_wide.reset(before)


def present_attention() -> Callable[[], contextlib.AbstractContextManager[None]]:
    """Return what makes a context with the attention of now: to compute a block once more."""
    return wide_attention if _is_wide.get() else contextlib.nullcontext


def attended(keys: Tensor) -> Tensor:
    """Return keys in the type in which attention takes them here, so that a cache converts once."""
    kind = keys.device.type
    if _is_wide.get() or not torch.is_autocast_enabled(kind):
        return keys
    return keys.to(torch.get_autocast_dtype(kind))


class _WideAttention(TorchFunctionMode):
    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is not F.scaled_dot_product_attention:
            return func(*args, **(kwargs or {}))
        with torch.autocast("cpu", enabled=False):
            attended = func(*map(_wide, args), **{k: _wide(v) for k, v in (kwargs or {}).items()})
        return attended.to(torch.get_autocast_dtype("cpu"))


def train_in_float32(module: nn.Module) -> Callable[[], None]:
    """Hold the layers whose weights train in float32; return a function that undoes this.

    A layer takes and gives numbers in the format that it had, so that its neighbours see no change.
    """
    undone = [
        _in_float32(layer)
        for layer in module.modules()
        if any(
            weight.requires_grad and weight.is_floating_point() and weight.itemsize < 4
            for weight in layer.parameters(recurse=False)
        )
        and not any(layer.children())
        and not isinstance(layer, _OF_ATTENTION)
    ]

    def undo() -> None:
        for undo_layer in undone:
            undo_layer()

    return undo


# torch's MultiheadAttention takes this layer's weight and never calls it.
_OF_ATTENTION = nn.modules.linear.NonDynamicallyQuantizableLinear


def _in_float32(layer: nn.Module) -> Callable[[], None]:
    former = next(layer.parameters(recurse=False)).dtype
    layer.float()
    hooks = [
        layer.register_forward_pre_hook(lambda _, inputs: tuple(map(_wide, inputs))),
        layer.register_forward_hook(lambda _, inputs, output: output.to(former)),
    ]

    def undo() -> None:
        for hook in hooks:
            hook.remove()
        layer.to(former)

    return undo


def _wide(value: Any) -> Any:
    is_number = isinstance(value, Tensor) and value.is_floating_point()
    return value.float() if is_number else value
