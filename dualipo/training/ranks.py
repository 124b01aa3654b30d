"""Several processes that train one model, its weights sharded among them (FSDP2, torchrun).

A process is a rank. Each trains on its share of every batch, equal in size, so that the mean of the
ranks' gradients is the batch's. With one process all of this does nothing, and nothing is imported.
Leaves out tensor and context parallelism, and adapters: FSDP2 wants one dtype in a group.
"""

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn

T = TypeVar("T")


def num_ranks() -> int:
    """How many processes train; 1 where none were started."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def rank() -> int:
    """Which of them this is; the first one publishes."""
    return dist.get_rank() if num_ranks() > 1 else 0


def loading_device() -> str:
    """Where a rank builds what it will shard: only the first one has room for whole weights."""
    return "cpu" if rank() == 0 else "meta"


def shard(module: nn.Module) -> None:
    """Give every rank its part of the first one's weights; a block's are gathered while it
    computes."""
    if num_ranks() == 1:
        return
    from torch.distributed.checkpoint.state_dict import StateDictOptions, set_model_state_dict

    state = module.state_dict() if rank() == 0 else {}
    buffers = from_first(dict(module.named_buffers()))  # those too that no state dict has
    nn.Module.to(module, "meta")
    _divide(module)
    module.to_empty(device=_device())
    options = StateDictOptions(full_state_dict=True, broadcast_from_rank0=True)
    set_model_state_dict(module, state, options=options)
    for name, buffer in buffers.items():
        path, _, leaf = name.rpartition(".")
        setattr(module.get_submodule(path), leaf, buffer.to(_device()))


def _divide(module: nn.Module) -> None:
    """Make each block, and what is around them, a unit of FSDP2."""
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    mesh = init_device_mesh(_device(), (num_ranks(),))
    for blocks in module.children():
        if isinstance(blocks, nn.ModuleList):
            for block in blocks:
                fully_shard(block, mesh=mesh)
    fully_shard(module, mesh=mesh)


def reshard(module: Any) -> None:
    """Let go of what a pass without a backward pass left gathered."""
    if num_ranks() > 1:
        module.reshard()


def share(items: Sequence[T]) -> list[T]:
    """This rank's items, as many as every other's: the last one stands in for what is missing."""
    width = -(-len(items) // num_ranks())
    padded = [*items, *[items[-1]] * (width * num_ranks() - len(items))]
    return padded[rank() * width : (rank() + 1) * width]


def gathered(values: Tensor) -> Tensor:
    """All ranks' values, in the order of `share`."""
    if num_ranks() == 1:
        return values
    parts = [torch.empty_like(values) for _ in range(num_ranks())]
    dist.all_gather(parts, values.contiguous())
    return torch.cat(parts)


def total(numbers: Sequence[float]) -> list[float]:
    """Each number's sum over the ranks."""
    if num_ranks() == 1:
        return list(numbers)
    summed = torch.tensor(numbers, dtype=torch.float64, device=_device())
    dist.all_reduce(summed)
    return [float(number) for number in summed]


def mean(metrics: Mapping[str, float]) -> dict[str, float]:
    """Every metric's mean over the ranks, which all have the same ones: so all agree (fault 25)."""
    return {
        name: number / num_ranks()
        for name, number in zip(metrics, total(list(metrics.values())), strict=True)
    }


def from_first(value: T) -> T:
    """The first rank's value, on every rank."""
    if num_ranks() == 1:
        return value
    box = [value]
    dist.broadcast_object_list(box)
    return box[0]


def wait() -> None:
    """For all ranks to come here."""
    if num_ranks() > 1:
        dist.barrier()


def whole(value: Tensor) -> Tensor:
    """A sharded tensor put together, on every rank."""
    full = getattr(value, "full_tensor", None)
    return value if full is None else full()


def whole_state(module: nn.Module) -> dict[str, Tensor]:
    """All weights on the CPU of the first rank; nothing on the others."""
    if num_ranks() == 1:
        return module.state_dict()
    from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict

    options = StateDictOptions(full_state_dict=True, cpu_offload=True)
    state: dict[str, Any] = get_model_state_dict(module, options=options)
    return state


def _device() -> str:
    return "cuda" if torch.cuda.is_available() else "cpu"
