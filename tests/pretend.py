"""A pretended torch device, which finds code that would fail on a GPU, on machines without one.

Its tensors lie on the CPU but claim to lie elsewhere: to mix them with CPU tensors, or to turn them
into numpy, is an error as it is on CUDA. Autocast casts the operands of a multiplication as CUDA's
does. Results equal the CPU's up to rounding, because attention is computed in its parts. The device
changes torch for its whole process, which must not have computed a gradient before; so `ended`
starts a new process.

A real device has more: memory, streams, kernels that are missing or not deterministic.
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
# On CUDA too, these operations take tensors of both devices: copies, and indices on the CPU.
_COPIES = {"aten::copy_", "aten::_to_copy", "aten::set_"}
_INDEXED = {"aten::index", "aten::index_put", "aten::index_put_", "aten::_index_put_impl_"}
_AUTOCAST = {
    *(torch.matmul, Tensor.matmul, Tensor.__matmul__, torch.bmm, torch.addmm, torch.baddbmm),
    *(functional.linear, functional.conv1d, functional.conv2d, functional.conv3d),
    functional.scaled_dot_product_attention,
}


def ended(function: Callable[..., None], *args: Any) -> int | None:
    """Call a module's function in a new process, on the device; return the exit code."""
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
        wrapper: Pretend = Tensor._make_wrapper_subclass(
            cls,
            held.size(),
            strides=held.stride(),
            storage_offset=held.storage_offset(),
            dtype=held.dtype,
            device=f"{NAME}:0",
        )
        wrapper.held = held
        return wrapper

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
    """Compute on the CPU; the result is on the device if an operand is."""
    leaves = tree_leaves((args, kwargs))
    tensors = [leaf for leaf in leaves if isinstance(leaf, Tensor)]
    on_device = [tensor for tensor in tensors if isinstance(tensor, Pretend)]
    on_cpu = [tensor for tensor in tensors if not isinstance(tensor, Pretend) and tensor.dim()]
    operation = func._schema.name
    if on_device and on_cpu and operation not in _COPIES | _INDEXED:
        raise RuntimeError(f"{operation}: tensors on two devices")
    if operation in _INDEXED and on_device and not isinstance(args[0], Pretend):
        raise RuntimeError(f"{operation}: a tensor on the CPU, indices on the device")
    target = kwargs.get("device")
    if operation == "aten::copy_":
        stays = isinstance(args[0], Pretend)
    elif operation == "aten::_to_copy" and target is not None:
        stays = _is_device(target)
    else:
        stays = bool(on_device) or any(map(_is_device, leaves))
    plain_args, plain_kwargs = tree_map(_plain, (args, kwargs))
    result = func(*plain_args, **plain_kwargs)
    # An operation in place returns its operand, which must stay the same object.
    known = {id(x.held): x for x in on_device} | {id(x): x for x in tensors}

    def wrapped(value: Any) -> Any:
        if not isinstance(value, Tensor) or id(value) in known:
            return known.get(id(value), value)
        return Pretend(value) if stays else value

    return tree_map(wrapped, result)


def _plain(value: Any) -> Any:
    if isinstance(value, Pretend):
        return value.held
    return torch.device("cpu") if _is_device(value) else value


class _Dispatch(TorchDispatchMode):
    """The mode that catches operations which make tensors without taking any."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _dispatch(func, args, kwargs or {})


class _Function(TorchFunctionMode):
    """The mode for calls that never reach a dispatch: tensors of Python numbers, and autocast."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        if func in (torch.tensor, torch.as_tensor) and kwargs.get("device") is not None:
            return func(*args, **kwargs | {"device": "cpu"}).to(kwargs["device"])
        if func is Tensor.new_tensor:
            tensor = torch.tensor(*args[1:], **{"dtype": args[0].dtype} | kwargs)
            return tensor.to(args[0].device)
        if func == Tensor.data.__set__ and isinstance(args[0], Pretend):
            args[0].held = args[1].held  # as a layer does that changes its weights' format
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
