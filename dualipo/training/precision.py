"""How a forward pass computes while training: bfloat16 where asked, and the quicker attention.

Everything that is compared with a training step's loss, like an alignment's reference errors, must
be computed inside the same context: a difference of rounding is a difference of z. On a CPU the
fused attention kernel's backward pass in bfloat16 is several times slower than plain matrix
products at a few hundred tokens; on other devices the library's own choice stands.
"""

import contextlib
from collections.abc import Iterator

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

from dualipo.config import Optimizer


@contextlib.contextmanager
def forward_pass(device: torch.device | str, settings: Optimizer) -> Iterator[None]:
    """The context of every forward pass that a training with these settings makes."""
    kind = torch.device(device).type
    with contextlib.ExitStack() as stack:
        stack.enter_context(
            torch.autocast(kind, torch.bfloat16, settings.mixed_precision == "bf16")
        )
        if kind == "cpu":
            stack.enter_context(sdpa_kernel([SDPBackend.MATH]))
        yield
