"""Layers in 4 bits: what they hold, what they compute, and what is left when they are restored."""

import copy

import pytest
import torch
from torch import nn

from dualipo.config import Critic
from dualipo.training import four_bits, lora

bitsandbytes = pytest.importorskip("bitsandbytes")


class Decoder(nn.Module):
    """Two of the layers that an adapter stands on, in a language model."""

    def __init__(self) -> None:
        super().__init__()
        self.q_proj = nn.Linear(256, 128)
        self.o_proj = nn.Linear(128, 256, bias=False)

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        return self.o_proj(self.q_proj(rows).relu())


def compressed(decoder: Decoder) -> Decoder:
    four_bits.compress(decoder)
    return decoder.to("cpu")


def test_a_weight_takes_as_many_bytes_as_the_estimate_counts() -> None:
    torch.manual_seed(0)
    layer = compressed(Decoder()).q_proj
    state = layer.weight.quant_state
    scales = [state.absmax, state.state2.absmax]  # codes of scales, and the scales of those
    held = layer.weight.nbytes + sum(scale.nbytes for scale in scales)
    assert held == pytest.approx(256 * 128 * four_bits.BYTES, rel=0.01)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_layer_computes_with_the_weights_that_it_is_restored_to(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    plain = Decoder().to(dtype)
    small = compressed(copy.deepcopy(plain))
    rows = torch.randn(3, 256, dtype=dtype, requires_grad=True)
    rounded = small(rows)
    restored = copy.deepcopy(small)
    four_bits.restore(restored)
    assert type(restored.q_proj) is nn.Linear
    assert restored.q_proj.weight.dtype == dtype
    torch.testing.assert_close(restored(rows), rounded)
    [grad] = torch.autograd.grad(rounded.sum(), rows)
    torch.testing.assert_close(torch.autograd.grad(restored(rows).sum(), rows)[0], grad)
    # NF4 has 16 levels for a normal distribution: uniform weights are rounded by some 9 %.
    change = (restored.q_proj.weight - plain.q_proj.weight).norm() / plain.q_proj.weight.norm()
    assert 0.05 < change < 0.12


def test_fault_71_an_adapter_on_small_layers_is_absorbed_into_whole_ones() -> None:
    torch.manual_seed(0)
    small = compressed(Decoder())
    adapter = lora.inject(small, settings=Critic(rank=4), seed=0)
    for weight in adapter.values():
        weight.data.normal_(std=0.1)
    assert not any("quant" in name or "base_layer" in name for name in adapter)
    rows = torch.randn(3, 256)
    before = small(rows)
    four_bits.restore(small)
    lora.absorb(small)
    assert {name for name, _ in small.named_parameters()} == set(Decoder().state_dict())
    torch.testing.assert_close(small(rows), before)
