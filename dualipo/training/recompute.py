"""Gradient checkpointing: a block's activations are computed again in the backward pass.

diffusers has the switch; this module adds the context of the second computation. torch restores
autocast by itself, but not the choice of an attention kernel, and another kernel gives other
numbers and saves other tensors.
"""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import torch
import torch.utils.checkpoint
from torch import nn

from dualipo.config import Align
from dualipo.training.precision import forward_pass


@contextlib.contextmanager
def recomputed(module: Any, *, device: torch.device, settings: Align) -> Iterator[None]:
    """Checkpoint the gradients of a diffusers model inside this context, if the settings ask so."""
    if not settings.gradient_checkpointing:
        yield
        return

    def checkpoint(block: nn.Module, *args: Any) -> Any:
        again = _Again(lambda: forward_pass(device, settings))
        return torch.utils.checkpoint.checkpoint(
            block,
            *args,
            use_reentrant=False,
            context_fn=lambda: (contextlib.nullcontext(), again),
        )

    module.enable_gradient_checkpointing(checkpoint)
    yield
    module.disable_gradient_checkpointing()


class _Again:
    """A context that may be entered more than once: each gradient norm recomputes a block."""

    def __init__(self, make: Callable[[], contextlib.AbstractContextManager[None]]) -> None:
        self._make = make
        self._entered: list[contextlib.AbstractContextManager[None]] = []

    def __enter__(self) -> None:
        self._entered.append(self._make())
        self._entered[-1].__enter__()

    def __exit__(self, *fault: Any) -> None:
        self._entered.pop().__exit__(*fault)
