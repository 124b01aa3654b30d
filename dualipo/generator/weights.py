"""A transformer of diffusers: read, or built on the meta device; hashed and published whole.

Where several ranks hold it in parts, the first puts them together.
"""

from pathlib import Path
from typing import Any

import torch
from torch import nn

from dualipo.store import atomic
from dualipo.store.tensors import hash_parameters
from dualipo.training import ranks


def read_transformer(model: Any, folder: Path, *, dtype: torch.dtype, device: str) -> Any:
    """An instance of diffusers' class `model` on `device`; on "meta" only its config is read."""
    if device != "meta":
        return model.from_pretrained(folder, dtype=dtype, use_safetensors=True).to(device)
    with torch.device("meta"):
        built = model.from_config(model.load_config(folder))
    # Not the model's own `to`, which warns of layers that a reader of weights keeps in float32.
    return nn.Module.to(built, dtype=dtype)


def hash_of(module: nn.Module) -> str:
    """The identity of its weights, the same on every rank."""
    state = ranks.whole_state(module)
    return ranks.from_first(hash_parameters(state) if ranks.rank() == 0 else "")


def publish(module: Any, folder: Path) -> None:
    """Write a folder that `read_transformer` takes."""
    # Where the weights were read from would make equal versions differ.
    module.register_to_config(_name_or_path="")
    state = ranks.whole_state(module)
    if ranks.rank() == 0:
        complete = module if ranks.num_ranks() == 1 else _assembled(module, state)
        with atomic.publish_folder(folder, name="transformer") as temporary:
            complete.save_pretrained(temporary, safe_serialization=True)
    ranks.wait()


def _assembled(module: Any, state: dict[str, torch.Tensor]) -> Any:
    """An unsharded module of the class that `fully_shard` has derived from."""
    model: Any = next(
        base for base in type(module).__mro__ if base.__module__.startswith("diffusers")
    )
    with torch.device("meta"):
        complete = model.from_config(dict(module.config))
    complete.load_state_dict(state, assign=True)
    return complete
