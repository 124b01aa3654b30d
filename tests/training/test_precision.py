"""Tests the numbers in which a training computes attention; a second computation agrees."""

import pytest
import torch
import torch.nn.functional as F
from torch.utils.checkpoint import checkpoint

from dualipo.config import Align
from dualipo.training import recompute
from dualipo.training.precision import autocast, forward_pass

BF16 = Align(mixed_precision="bf16", gradient_checkpointing=True)


def _inputs() -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(2, 3, 40, 16, generator=generator) for _ in range(3)]


def test_attention_is_float32_where_the_rest_is_bfloat16():
    """Attention is as near to float64's as bfloat16 can say; the library's own is further away."""
    inputs = _inputs()
    wanted = F.scaled_dot_product_attention(*(each.double() for each in inputs))
    with forward_pass("cpu", BF16):
        attended = F.scaled_dot_product_attention(*inputs)
        assert F.linear(inputs[0], torch.eye(16)).dtype == attended.dtype == torch.bfloat16
        with_words = F.scaled_dot_product_attention(inputs[0], key=inputs[1], value=inputs[2])
    assert torch.equal(attended, with_words)
    torch.testing.assert_close(attended.double(), wanted.bfloat16().double(), rtol=2**-8, atol=0)
    with autocast("cpu", BF16):
        plain = F.scaled_dot_product_attention(*inputs)
    off, plain_off = ((each.double() - wanted).abs().max() for each in (attended, plain))
    assert off < plain_off


def test_a_mask_keeps_its_meaning():
    inputs, mask = _inputs(), torch.ones(40, 40, dtype=torch.bool).tril()
    added = torch.zeros(40, 40, dtype=torch.bfloat16).masked_fill(~mask, float("-inf"))
    with forward_pass("cpu", BF16):
        first, again = (F.scaled_dot_product_attention(*inputs, each) for each in (mask, added))
        causal = F.scaled_dot_product_attention(*inputs, is_causal=True)
    assert torch.equal(first, again) and torch.equal(first, causal)


@pytest.mark.parametrize("settings", [BF16, Align()])
def test_a_block_computed_again_has_the_same_gradients(settings):
    """Attention in the backward pass is that of the forward pass, which has ended by then."""
    weights = [each.requires_grad_() for each in _inputs()]

    def gradients(attend) -> list[torch.Tensor]:
        with forward_pass("cpu", settings):
            result = attend(*weights)
        return list(torch.autograd.grad(result.float().square().sum(), weights))

    def again(*given: torch.Tensor) -> torch.Tensor:
        return checkpoint(F.scaled_dot_product_attention, *given, **recompute._options())

    kept, computed = gradients(F.scaled_dot_product_attention), gradients(again)
    assert all(map(torch.equal, kept, computed))
