"""The precision in which models compute: bfloat16 where the recipe asks for it.

`autocast` is for sampling and judging. `forward_pass` is for training, and it also chooses the
quicker attention: on a CPU the fused kernel's backward pass in bfloat16 is several times slower
than plain matrix products at a few hundred tokens, and in float32 it is a seventh quicker. On other
devices the library's own choice stands. Whatever is compared with a training step's loss, like an
alignment's reference errors, must be computed inside `forward_pass` too: a difference of rounding
is a difference of z.
"""

import contextlib
from collections.abc import Iterator

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

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
        if takes_plain_attention(device, settings):
            stack.enter_context(sdpa_kernel([SDPBackend.MATH]))
        yield


def takes_plain_attention(device: torch.device | str, settings: Optimizer) -> bool:
    """Tell whether a training's attention is plain matrix products, and not a fused kernel."""
    return torch.device(device).type == "cpu" and settings.mixed_precision == "bf16"
