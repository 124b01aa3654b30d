"""What a recipe may choose of how clips are sampled: memory, attention kernels, compiled blocks.

| setting of the generator | what changes in a clip |
|---|---|
| `cpu_offload` | nothing |
| `attention_backend` | rounding, for kernels that are exact; "sage" computes in 8 bits |
| `compile` | rounding |
| `vae_tiling` | where tiles overlap they are blended: frames differ a little |

They are in force while clips are sampled, encoded and decoded. Trainings compute as without them.
"""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from diffusers.models.attention_dispatch import attention_backend
from torch import nn

from dualipo.config import Generator
from dualipo.errors import ConfigError

_COMPILED = "_compiled_for_sampling"


@dataclass(frozen=True)
class Saving:
    """How a pipeline saves memory: decoding in tiles, and parts that wait on the host."""

    tiles: bool = False
    offloads: bool = False

    @classmethod
    def of(cls, settings: Generator) -> "Saving":
        """Return what a recipe asks for."""
        return cls(tiles=settings.vae_tiling, offloads=settings.cpu_offload)


NOTHING_SAVED = Saving()


@contextlib.contextmanager
def lent(module: nn.Module, device: torch.device) -> Iterator[None]:
    """Hold a module's weights on a device inside this context; the host keeps its own."""
    tensors = [*module.parameters(), *module.buffers()]
    held = [tensor.data for tensor in tensors]
    try:
        for tensor in tensors:
            tensor.data = tensor.data.to(device, copy=True)
        yield
    finally:
        for tensor, own in zip(tensors, held, strict=True):
            tensor.data = own


@contextlib.contextmanager
def sampling(module: Any, settings: Generator) -> Iterator[None]:
    """Compute a transformer's forward passes inside this context as the recipe says."""
    with contextlib.ExitStack() as stack:
        if settings.attention_backend != "native":
            stack.enter_context(_attention(module, settings.attention_backend))
        if settings.compile:
            stack.enter_context(_compiled(module))
        yield


@contextlib.contextmanager
def _attention(module: Any, name: str) -> Iterator[None]:
    if type(module).__name__ != "WanTransformer3DModel":
        raise ConfigError(
            f'generator.attention_backend = "{name}": {type(module).__name__} computes attention '
            'by torch\'s own kernels alone. Set it to "native".'
        )
    try:
        backend = attention_backend(name)
        backend.__enter__()
    except (ImportError, RuntimeError, ValueError) as missing:
        raise ConfigError(
            f'generator.attention_backend = "{name}" cannot be used here ({missing}). Install its '
            'package, or set it to "native".'
        ) from missing
    try:
        yield
    finally:
        backend.__exit__(None, None, None)


@contextlib.contextmanager
def _compiled(module: Any) -> Iterator[None]:
    """Compile the repeated blocks at their first use, and use the compiled ones inside only."""
    blocks = [
        block for block in module.modules() if type(block).__name__ in module._repeated_blocks
    ]
    for block in blocks:
        if not hasattr(block, _COMPILED):
            block.compile()
            object.__setattr__(block, _COMPILED, block._compiled_call_impl)
        block._compiled_call_impl = getattr(block, _COMPILED)
    try:
        yield
    finally:
        for block in blocks:
            block._compiled_call_impl = None
