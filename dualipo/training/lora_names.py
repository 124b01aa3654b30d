"""Writes a LoRA under the names of other programs: diffusers, PEFT, ComfyUI.

    diffusers  pytorch_lora_weights.safetensors   transformer.blocks.0.attn1.to_q.lora_A.weight
    peft       adapter_model.safetensors          base_model.model.blocks.0.attn1.to_q...
               adapter_config.json                rank, alpha, target modules
    comfyui    lora_comfyui.safetensors           diffusion_model.blocks.0.self_attn.q...

Only names change, so each is lossless: the scale is in B already, and alpha is the rank. ComfyUI
knows Wan by the names of its first release; diffusers reads those names back. What it expects of
CogVideoX could not be checked, so that family is refused.
"""

import re
from pathlib import Path
from typing import Any

from torch import Tensor

from dualipo.errors import ConfigError, ModelError
from dualipo.store import atomic, tensors
from dualipo.training.lora import ADAPTER_FILE

NAMES = ("diffusers", "peft", "comfyui")
PREFIX = "transformer."
WAN = "WanTransformer3DModel"

# diffusers' names of Wan's layers, and those of Wan's first release.
_COMFYUI = (
    (".attn1.", ".self_attn."),
    (".attn2.", ".cross_attn."),
    (".to_out.0.", ".o."),
    (".ffn.net.0.proj.", ".ffn.0."),
    (".ffn.net.2.", ".ffn.2."),
)
_PROJECTION = re.compile(r"\.to_([qkv])\.")


def write(adapter_path: Path, folder: Path, *, names: str, model_class: str) -> None:
    """Write the LoRA at `adapter_path` into `folder` under the names of a program.

    `model_class` is diffusers' class of the transformer that the LoRA stands on.
    """
    weights = tensors.load(adapter_path)
    if not weights or not all(name.startswith(PREFIX) for name in weights):
        raise ModelError(f"{adapter_path}: it holds no LoRA of a transformer. Export another one.")
    bare = {name.removeprefix(PREFIX): weight for name, weight in weights.items()}
    if names == "peft":
        _save(folder / "adapter_model.safetensors", "base_model.model.", bare)
        atomic.write_json(folder / "adapter_config.json", _peft_config(bare))
    elif names == "comfyui":
        if model_class != WAN:
            raise ConfigError(
                f"--names comfyui: the names of a {model_class} in ComfyUI are not known. Give "
                "--names diffusers or peft."
            )
        renamed = {_comfyui(name): weight for name, weight in bare.items()}
        _save(folder / "lora_comfyui.safetensors", "diffusion_model.", renamed)
    else:
        _save(folder / ADAPTER_FILE, PREFIX, bare)


def _save(path: Path, prefix: str, weights: dict[str, Tensor]) -> None:
    named = {f"{prefix}{name}": weight for name, weight in weights.items()}
    tensors.save(path, named, metadata={"format": "pt"})


def _comfyui(name: str) -> str:
    for known, other in _COMFYUI:
        name = name.replace(known, other)
    return _PROJECTION.sub(r".\1.", name)


def _peft_config(weights: dict[str, Tensor]) -> dict[str, Any]:
    """Return what PEFT asks of an adapter; its modules are named in full, so that none is added."""
    ranks = {weight.shape[0] for name, weight in weights.items() if ".lora_A." in name}
    modules = sorted({re.sub(r"\.lora_[AB]\.weight$", "", name) for name in weights})
    rank = max(ranks)
    return {
        "peft_type": "LORA",
        "task_type": None,
        "r": rank,
        "lora_alpha": rank,
        "lora_dropout": 0.0,
        "bias": "none",
        "fan_in_fan_out": False,
        "inference_mode": True,
        "target_modules": modules,
    }
