"""Several processes that train one model, with its weights sharded among them (FSDP2, torchrun).

A process is a rank. Each trains on its share of every batch; shares are equal in size, so the mean
of the ranks' gradients is the batch's gradient. With one process these functions do nothing, and
the distributed parts of torch are not imported. Leaves out tensor and context parallelism.

A model is sharded in one of two ways. `shard` divides all of it, and only the first rank reads it:
a generator is called through its own `forward`, where FSDP2 gathers what is around the blocks.
`shard_blocks` divides a critic's language model, whose other parts are called one by one and not
equally often on every rank: they stay whole, and `average_gradients` keeps them equal.
"""

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn

T = TypeVar("T")


def num_ranks() -> int:
    """Return how many processes train; 1 where none were started."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def rank() -> int:
    """Return this process's number; number 0, the first rank, publishes."""
    return dist.get_rank() if num_ranks() > 1 else 0


def loading_device() -> str:
    """Return where a rank loads a model to shard: only the first has room for whole weights."""
    return "cpu" if rank() == 0 else "meta"


def shard(module: nn.Module) -> None:
    """Give every rank its part of the first one's weights.

    While a block computes, its whole weights are gathered.
    """
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


def in_turn(load: Callable[[], T]) -> T:
    """Call `load` on one rank of a machine after the other, which hence holds one model at once."""
    if num_ranks() == 1:
        return load()
    own = int(os.environ.get("LOCAL_RANK", rank()))
    loaded: list[T] = []
    for turn in range(int(os.environ.get("LOCAL_WORLD_SIZE", num_ranks()))):
        if turn == own:
            loaded.append(load())
        wait()
    return loaded[0]


def shard_blocks(module: nn.Module, *, within: nn.Module) -> None:
    """Keep this rank's part of the blocks of `module`, which every rank holds whole.

    What is left of `within` stays whole on every rank.
    """
    if num_ranks() == 1:
        return
    blocks = [weight for block in _blocks(module) for weight in block.parameters()]
    _divide(module, whole=set(module.parameters()) - set(blocks))
    within.to(_device())


def _divide(module: nn.Module, *, whole: set[nn.Parameter] | None = None) -> None:
    """Make each block, and what is around them, a unit of FSDP2; it leaves `whole` alone."""
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    mesh = init_device_mesh(_device(), (num_ranks(),))
    for block in _blocks(module):
        fully_shard(block, mesh=mesh)
    fully_shard(module, mesh=mesh, ignored_params=whole)


def _blocks(module: nn.Module) -> list[nn.Module]:
    """Return the blocks of a transformer: what its lists of modules hold."""
    return [
        block
        for blocks in module.children()
        if isinstance(blocks, nn.ModuleList)
        for block in blocks
    ]


def reshard(module: Any) -> None:
    """Free the whole weights that stay gathered after forward passes without a backward pass."""
    if num_ranks() > 1:
        module.reshard()


def is_sharded(weight: Tensor) -> bool:
    """Tell whether this rank holds a part of a weight."""
    return hasattr(weight, "full_tensor")


def average_gradients(weights: Iterable[nn.Parameter]) -> None:
    """Average the gradients of weights that every rank holds whole; FSDP2 does so with the rest.

    A weight that no rank has used keeps none, as in a training of one process.
    """
    if num_ranks() == 1:
        return
    alike = [weight for weight in weights if not is_sharded(weight)]
    nums = total([float(weight.grad is not None) for weight in alike]) if alike else []
    for weight, num in zip(alike, nums, strict=True):
        if num:
            gradient = torch.zeros_like(weight) if weight.grad is None else weight.grad
            dist.all_reduce(gradient)
            weight.grad = gradient / num_ranks()


def share(items: Sequence[T]) -> list[T]:
    """Return this rank's items, equally many for all ranks: the last item fills up the rest."""
    width = -(-len(items) // num_ranks())
    padded = [*items, *[items[-1]] * (width * num_ranks() - len(items))]
    return padded[rank() * width : (rank() + 1) * width]


def gathered(values: Tensor) -> Tensor:
    """Return all ranks' values, in the order of `share`."""
    if num_ranks() == 1:
        return values
    parts = [torch.empty_like(values) for _ in range(num_ranks())]
    dist.all_gather(parts, values.contiguous())
    return torch.cat(parts)


def total(numbers: Sequence[float]) -> list[float]:
    """Sum each number over the ranks."""
    if num_ranks() == 1:
        return list(numbers)
    summed = torch.tensor(numbers, dtype=torch.float64, device=_device())
    dist.all_reduce(summed)
    return [float(number) for number in summed]


def mean(metrics: Mapping[str, float]) -> dict[str, float]:
    """Average each metric over the ranks, so that all ranks judge the same numbers (fault 25)."""
    return {
        name: number / num_ranks()
        for name, number in zip(metrics, total(list(metrics.values())), strict=True)
    }


def from_first(value: T) -> T:
    """Return the first rank's value, on every rank."""
    if num_ranks() == 1:
        return value
    box = [value]
    dist.broadcast_object_list(box)
    return box[0]


def wait() -> None:
    """Wait until all ranks have called this."""
    if num_ranks() > 1:
        dist.barrier()


def whole(value: Tensor) -> Tensor:
    """Put a sharded tensor together, on every rank; return any other as it is."""
    full = getattr(value, "full_tensor", None)
    return value if full is None else full()


def own_part(tensor: Tensor) -> Tensor:
    """Return this rank's part of a sharded tensor, in the same memory; any other as it is."""
    local: Callable[[], Tensor] | None = getattr(tensor.detach(), "to_local", None)
    return tensor.detach() if local is None else local()


def largest_part(weight: Tensor) -> int:
    """Count the numbers of the first rank's part: whole rows, as equally many as possible."""
    return -(-len(weight) // num_ranks()) * (weight.numel() // max(1, len(weight)))


def joined(part: Tensor, like: Tensor) -> Tensor:
    """Make the ranks' parts one sharded tensor that is laid out as `like`."""
    mesh = getattr(like, "device_mesh", None)
    if mesh is None:
        return part
    from torch.distributed.tensor import DTensor

    placements = getattr(like, "placements", None)
    shape, stride = like.shape, like.stride()
    return DTensor.from_local(part, mesh, placements, run_check=False, shape=shape, stride=stride)


def part_like(value: Tensor, like: Tensor | None) -> Tensor:
    """Return this rank's part of a whole tensor, sharded as `like` is; the whole if that is not."""
    mesh = getattr(like, "device_mesh", None)
    if like is None or mesh is None or value.shape != like.shape:
        return value
    from torch.distributed.tensor import DTensor, Replicate

    whole = DTensor.from_local(value.to(_device()), mesh, [Replicate()], run_check=False)
    part: Tensor = whole.redistribute(placements=getattr(like, "placements", None))
    return part


def whole_state(module: nn.Module) -> dict[str, Tensor]:
    """Return all weights: with several ranks on the CPU of the first one, nothing on the others."""
    if num_ranks() == 1:
        return module.state_dict()
    from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict

    options = StateDictOptions(full_state_dict=True, cpu_offload=True)
    state: dict[str, Any] = get_model_state_dict(module, options=options)
    return state


def _device() -> str:
    return "cuda" if torch.cuda.is_available() else "cpu"
