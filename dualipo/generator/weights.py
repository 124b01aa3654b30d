"""A diffusers transformer's weights: read, hashed, and published whole.

Where several ranks hold them in parts, the first rank puts them together.
"""

from pathlib import Path
from typing import Any

import torch
from torch import nn

from dualipo.model_files import guard
from dualipo.store import atomic
from dualipo.store.tensors import hash_parameters
from dualipo.training import lora, ranks


def read_transformer(model: Any, folder: Path, *, dtype: torch.dtype, device: str) -> Any:
    """Read a model of the diffusers class `model`; on the device "meta" only its configuration."""
    if device != "meta":
        with guard.reading(folder):
            return model.from_pretrained(folder, dtype=dtype, use_safetensors=True).to(device)
    with guard.reading(folder), torch.device("meta"):
        built = model.from_config(model.load_config(folder))
    # The model's own `to` would warn of layers that `from_pretrained` keeps in float32.
    return nn.Module.to(built, dtype=dtype)


def hash_of(module: nn.Module) -> str:
    """Hash a module's weights without an adapter; the result is the same on every rank."""
    state = lora.without(ranks.whole_state(module))
    return ranks.from_first(hash_parameters(state) if ranks.rank() == 0 else "")


def publish(module: Any, folder: Path) -> None:
    """Write a folder that `read_transformer` takes."""
    # The path that the weights were read from would make equal versions differ.
    module.register_to_config(_name_or_path="")
    state = ranks.whole_state(module)
    if ranks.rank() == 0:
        complete = module if ranks.num_ranks() == 1 else _assembled(module, state)
        num_bytes = sum(tensor.nbytes for tensor in state.values())
        with atomic.publish_folder(folder, name="transformer", num_bytes=num_bytes) as temporary:
            complete.save_pretrained(temporary, safe_serialization=True)
    ranks.wait()


def _assembled(module: Any, state: dict[str, torch.Tensor]) -> Any:
    """Build an unsharded module with these weights, of the class below FSDP2's own."""
    model: Any = next(
        base for base in type(module).__mro__ if base.__module__.startswith("diffusers")
    )
    with torch.device("meta"):
        complete = model.from_config(dict(module.config))
    complete.load_state_dict(state, assign=True)
    return complete
