"""The bytes that tensors take: all that live at once, and those that a backward pass needs.

On the meta device, where tensors have shapes and no memory, a step of any model is counted in
seconds. Leaves out what a kernel takes inside, and the allocator's slack.
"""

import contextlib
import weakref
from collections.abc import Iterable, Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class LiveBytes(TorchDispatchMode):
    """A mode that counts the bytes of the storages made inside it: `live` now, `peak` at most.

    Views share a storage. The storages of `known` tensors were there before, and do not count.
    """

    def __init__(self, known: Iterable[Tensor | None] = ()) -> None:
        super().__init__()
        self.live = self.peak = 0
        self._known = {_storage(tensor) for tensor in known if tensor is not None}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(result):
            if isinstance(tensor, Tensor) and _storage(tensor) not in self._known:
                self._add(tensor.untyped_storage())
        return result

    def _add(self, storage: Any) -> None:
        key, size = storage._cdata, storage.nbytes()
        self._known.add(key)
        self.live += size
        self.peak = max(self.peak, self.live)
        weakref.finalize(storage, self._drop, key, size)

    def _drop(self, key: int, size: int) -> None:
        self._known.discard(key)
        self.live -= size


class FusedAttention(TorchFunctionMode):
    """A mode in which attention is one fused kernel, as on devices.

    The meta device would compute the whole matrix.
    """

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is F.scaled_dot_product_attention:
            return _flash_attention(*args, **(kwargs or {}))
        return func(*args, **(kwargs or {}))


@contextlib.contextmanager
def saved_bytes(module: nn.Module) -> Iterator[dict[int, int]]:
    """Yield the bytes by storage that autograd saves inside, without the module's own weights."""
    own = {_storage(weight) for weight in module.parameters()}
    saved: dict[int, int] = {}
    alive: list[Tensor] = []  # so that no freed storage's number is given to another

    def keep(tensor: Tensor) -> Tensor:
        alive.append(tensor)
        saved.update({key: size for key, size in sizes([tensor]).items() if key not in own})
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        yield saved


def sizes(tensors: Iterable[Tensor]) -> dict[int, int]:
    """Count bytes by storage: one that views or blocks share counts once."""
    return {_storage(tensor): tensor.untyped_storage().nbytes() for tensor in tensors}


def _flash_attention(query: Tensor, key: Tensor, value: Tensor, *_: Any, **__: Any) -> Tensor:
    return torch.ops.aten._scaled_dot_product_flash_attention(query, key, value)[0]


def _storage(tensor: Tensor) -> int:
    return tensor.untyped_storage()._cdata
