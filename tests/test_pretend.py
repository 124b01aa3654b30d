"""The pretended device refuses what CUDA does, and allows what it allows."""

import pytest
import torch

from tests import pretend


def meet() -> None:
    here, there = torch.arange(3.0), torch.arange(3.0, device=pretend.NAME)
    assert there.device.type == pretend.NAME and torch.equal((there + 1).cpu(), here + 1)
    assert torch.equal(there[torch.tensor([2, 0])].cpu(), here[[2, 0]])
    assert torch.equal((there * torch.tensor(2.0)).cpu(), 2 * here)  # a lone number may be anywhere
    for mixed in (
        lambda: here + there,
        lambda: torch.stack([here, there]),
        lambda: there.index_select(0, torch.tensor([0])),
        lambda: here[torch.tensor([0], device=pretend.NAME)],
    ):
        with pytest.raises(RuntimeError, match="device"):
            mixed()
    with pytest.raises(TypeError, match="numpy"):
        there.numpy()


def test_tensors_of_two_devices_never_meet() -> None:
    assert pretend.ended(meet) == 0
