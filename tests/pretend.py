"""A device that is none, to find what would fail on a GPU where there is none.

Its tensors live on the CPU and say that they do not: mixing them with others is the error that it
would be on CUDA, and so is turning them into numpy. Autocast casts what CUDA's would before a
multiplication. Results are the CPU's own but for rounding, as attention is computed in its parts.
All this changes torch for a whole process, in which nothing was differentiated before: `ended`
starts one.

Leaves out what only a real device has: memory, streams, kernels that are missing or not
deterministic.
"""

import multiprocessing
import threading
from collections.abc import Callable
from typing import Any
from unittest import mock

import torch
from torch import Tensor
from torch.nn import functional
from torch.overrides import TorchFunctionMode
from torch.utils import backend_registration
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

NAME = "pretend"
# CUDA too lets these take tensors of both places: copies, and indices that lie on the CPU.
_COPIES = {"aten::copy_", "aten::_to_copy", "aten::set_"}
_INDEXED = {"aten::index", "aten::index_put", "aten::index_put_", "aten::_index_put_impl_"}
_AUTOCAST = {
    *(torch.matmul, Tensor.matmul, Tensor.__matmul__, torch.bmm, torch.addmm, torch.baddbmm),
    *(functional.linear, functional.conv1d, functional.conv2d, functional.conv3d),
    functional.scaled_dot_product_attention,
}


def ended(function: Callable[..., None], *args: Any) -> int | None:
    """Call a module's function in a process of its own, on the device; its exit code."""
    process = multiprocessing.get_context("spawn").Process(target=_enter, args=(function, args))
    process.start()
    process.join()
    return process.exitcode


def _enter(function: Callable[..., None], args: tuple[Any, ...]) -> None:
    backend_registration._setup_privateuseone_for_python_backend(NAME, backend_module=_Backend())
    library = torch.library.Library("_", "IMPL")  # what it registers lives as long as it does
    library.fallback(torch.library.fallthrough_kernel, "AutocastPrivateUse1")
    run = threading.Thread.run

    def run_there(thread: threading.Thread) -> None:
        with _Function(), _Dispatch():
            run(thread)

    with mock.patch.object(threading.Thread, "run", run_there), _Function(), _Dispatch():
        function(*args)


class Pretend(Tensor):
    """A tensor on the device; `held` has its numbers."""

    held: Tensor

    @staticmethod
    def __new__(cls, held: Tensor) -> "Pretend":
        made: Pretend = Tensor._make_wrapper_subclass(
            cls,
            held.size(),
            strides=held.stride(),
            storage_offset=held.storage_offset(),
            dtype=held.dtype,
            device=f"{NAME}:0",
        )
        made.held = held
        return made

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _dispatch(func, args, kwargs or {})

    def __deepcopy__(self, memo: dict[int, Any]) -> Tensor:
        copy = Pretend(self.held.clone())
        is_parameter = isinstance(self, torch.nn.Parameter)
        return torch.nn.Parameter(copy, self.requires_grad) if is_parameter else copy

    def tolist(self) -> Any:
        return self.cpu().tolist()

    def numpy(self, *_: Any, **__: Any) -> Any:
        raise TypeError(f"a {NAME} tensor has no numpy array: use .cpu() first")

    __array__ = numpy

    # Libraries name a tensor by its memory when they look for tied weights, and save it.
    def storage(self) -> Any:
        return self.held.storage()

    def untyped_storage(self) -> Any:
        return self.held.untyped_storage()

    def data_ptr(self) -> int:
        return self.held.data_ptr()


def _is_device(value: Any) -> bool:
    return isinstance(value, torch.device) and value.type == NAME


def _dispatch(func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    """Compute on the CPU; what comes out is on the device if what went in was."""
    leaves = tree_leaves((args, kwargs))
    given = [leaf for leaf in leaves if isinstance(leaf, Tensor)]
    here = [one for one in given if isinstance(one, Pretend)]
    elsewhere = [one for one in given if not isinstance(one, Pretend) and one.dim()]
    operation = func._schema.name
    if here and elsewhere and operation not in _COPIES | _INDEXED:
        raise RuntimeError(f"{operation}: tensors on two devices")
    if operation in _INDEXED and here and not isinstance(args[0], Pretend):
        raise RuntimeError(f"{operation}: a tensor on the CPU, indices on the device")
    target = kwargs.get("device")
    if operation == "aten::copy_":
        stays = isinstance(args[0], Pretend)
    elif operation == "aten::_to_copy" and target is not None:
        stays = _is_device(target)
    else:
        stays = bool(here) or any(map(_is_device, leaves))
    plain_args, plain_kwargs = tree_map(_plain, (args, kwargs))
    made = func(*plain_args, **plain_kwargs)
    known = {id(one.held): one for one in here} | {id(one): one for one in given}

    def named(value: Any) -> Any:
        if not isinstance(value, Tensor) or id(value) in known:
            return known.get(id(value), value)
        return Pretend(value) if stays else value

    return tree_map(named, made)


def _plain(value: Any) -> Any:
    if isinstance(value, Pretend):
        return value.held
    return torch.device("cpu") if _is_device(value) else value


class _Dispatch(TorchDispatchMode):
    """What makes tensors without taking any."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _dispatch(func, args, kwargs or {})


class _Function(TorchFunctionMode):
    """What never reaches a dispatch: tensors of Python's numbers, and autocast."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        if func in (torch.tensor, torch.as_tensor) and kwargs.get("device") is not None:
            return func(*args, **kwargs | {"device": "cpu"}).to(kwargs["device"])
        if func is Tensor.new_tensor:
            made = torch.tensor(*args[1:], **{"dtype": args[0].dtype} | kwargs)
            return made.to(args[0].device)
        if func in _AUTOCAST and torch.is_autocast_enabled(NAME):
            args, kwargs = tree_map(_cast, (args, kwargs))
        return func(*args, **kwargs)


def _cast(value: Any) -> Any:
    if isinstance(value, Pretend) and value.is_floating_point():
        return value.to(torch.get_autocast_dtype(NAME))
    return value


class _Backend(backend_registration._DummyBackendModule):
    def get_amp_supported_dtype(self) -> list[torch.dtype]:
        return [torch.bfloat16]

    def get_rng_state(self, device: Any) -> Tensor:
        return torch.get_rng_state()  # random numbers are the CPU's

    def set_rng_state(self, state: Tensor, device: Any) -> None:
        torch.set_rng_state(state)
