"""Tests that the pretended device refuses and allows the same operations as CUDA."""

import pytest
import torch

from tests import pretend


def meet() -> None:
    on_cpu, on_device = torch.arange(3.0), torch.arange(3.0, device=pretend.NAME)
    assert on_device.device.type == pretend.NAME
    assert torch.equal((on_device + 1).cpu(), on_cpu + 1)
    assert torch.equal(on_device[torch.tensor([2, 0])].cpu(), on_cpu[[2, 0]])
    # A tensor of a single number may lie on either device.
    assert torch.equal((on_device * torch.tensor(2.0)).cpu(), 2 * on_cpu)
    for mixed in (
        lambda: on_cpu + on_device,
        lambda: torch.stack([on_cpu, on_device]),
        lambda: on_device.index_select(0, torch.tensor([0])),
        lambda: on_cpu[torch.tensor([0], device=pretend.NAME)],
    ):
        with pytest.raises(RuntimeError, match="device"):
            mixed()
    with pytest.raises(TypeError, match="numpy"):
        on_device.numpy()


@pytest.mark.slow
def test_tensors_of_two_devices_never_meet() -> None:
    assert pretend.ended(meet) == 0
