"""Reading a transformer of diffusers: from its weights, or its shapes alone on the meta device."""

from pathlib import Path
from typing import Any

import torch
from torch import nn


def read_transformer(model: Any, folder: Path, *, dtype: torch.dtype, device: str) -> Any:
    """An instance of diffusers' class `model` on `device`; on "meta" only its config is read."""
    if device != "meta":
        return model.from_pretrained(folder, dtype=dtype, use_safetensors=True).to(device)
    with torch.device("meta"):
        built = model.from_config(model.load_config(folder))
    # Not the model's own `to`, which warns of layers that a reader of weights keeps in float32.
    return nn.Module.to(built, dtype=dtype)
