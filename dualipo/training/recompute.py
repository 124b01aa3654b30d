"""Gradient checkpointing: a block's activations are computed again in the backward pass.

diffusers and transformers have the switch; this module adds the context of the second computation.
torch restores autocast by itself, but not how attention is computed (`precision`), and another way
gives other numbers and saves other tensors.
"""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import torch
import torch.utils.checkpoint
from torch import nn

from dualipo.config import Align
from dualipo.training.precision import present_attention


@contextlib.contextmanager
def recomputed(module: Any, *, settings: Align) -> Iterator[None]:
    """Checkpoint the gradients of a diffusers model inside this context, if the settings ask so."""
    if not settings.gradient_checkpointing:
        yield
        return

    def checkpoint(block: nn.Module, *args: Any) -> Any:
        return torch.utils.checkpoint.checkpoint(block, *args, **_options())

    module.enable_gradient_checkpointing(checkpoint)
    yield
    module.disable_gradient_checkpointing()


@contextlib.contextmanager
def recomputed_layers(llm: Any, *, is_on: bool) -> Iterator[None]:
    """Checkpoint the gradients of a transformers model inside this context, if `is_on`."""
    if not is_on:
        yield
        return
    switch(llm, _options())
    try:
        yield
    finally:
        switch(llm, None)


def switch(llm: Any, options: dict[str, Any] | None) -> None:
    """Checkpoint a transformers model with these options of torch's checkpoint; None ends it."""
    # transformers 5.23 has renamed both methods, and warns of the old names.
    name = "enable" if options else "disable"
    method = getattr(llm, f"activation_checkpointing_{name}", None) or getattr(
        llm, f"gradient_checkpointing_{name}"
    )
    method(*[options] if options else [])


def _options() -> dict[str, Any]:
    """Return how torch's checkpoint is to compute a block the second time."""

    def contexts() -> tuple[contextlib.AbstractContextManager[None], "_Again"]:
        return contextlib.nullcontext(), _Again(present_attention())

    return {"use_reentrant": False, "context_fn": contexts}


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
