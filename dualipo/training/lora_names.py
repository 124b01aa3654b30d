"""Writes a LoRA under the names of other programs: diffusers, PEFT, ComfyUI.

    diffusers  pytorch_lora_weights.safetensors   transformer.blocks.0.attn1.to_q.lora_A.weight
    peft       adapter_model.safetensors          base_model.model.blocks.0.attn1.to_q...
               adapter_config.json                rank, alpha, target modules
    comfyui    lora_comfyui.safetensors           diffusion_model.blocks.0.self_attn.q...

Only names change, so each is lossless: the scale is in B already, and alpha is the rank. ComfyUI
knows Wan by the names of its first release, which diffusers reads back, and CogVideoX by names of
its own. Its node for stock diffusers pipelines (CogVideoXWrapper) reads the names of diffusers.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from dualipo.errors import ConfigError, ModelError
from dualipo.store import atomic, tensors
from dualipo.training.lora import ADAPTER_FILE

NAMES = ("diffusers", "peft", "comfyui")
PREFIX = "transformer."
WAN, COGVIDEOX = "WanTransformer3DModel", "CogVideoXTransformer3DModel"

# By class: diffusers' name of the list of blocks (ComfyUI's is `blocks`), and of a block's layers
# with ComfyUI's names of them.
_COMFYUI: dict[str, tuple[str, dict[str, str]]] = {
    WAN: (
        "blocks",
        {
            **{f"attn1.to_{letter}": f"self_attn.{letter}" for letter in "qkv"},
            **{f"attn2.to_{letter}": f"cross_attn.{letter}" for letter in "qkv"},
            "attn1.to_out.0": "self_attn.o",
            "attn2.to_out.0": "cross_attn.o",
            "ffn.net.0.proj": "ffn.0",
            "ffn.net.2": "ffn.2",
        },
    ),
    COGVIDEOX: (
        "transformer_blocks",
        {
            **{f"attn1.to_{letter}": letter for letter in "qkv"},
            "attn1.to_out.0": "attn_out",
            "ff.net.0.proj": "ff_proj",
            "ff.net.2": "ff_out",
        },
    ),
}
_NAME = re.compile(
    r"(?P<blocks>\w+)\.(?P<number>\d+)\.(?P<layer>.+)\.(?P<factor>lora_[AB]\.weight)"
)


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
        renamed = {to_comfyui(name, model_class): weight for name, weight in bare.items()}
        _save(folder / "lora_comfyui.safetensors", "diffusion_model.", renamed)
    else:
        _save(folder / ADAPTER_FILE, PREFIX, bare)


def _save(path: Path, prefix: str, weights: dict[str, Tensor]) -> None:
    named = {f"{prefix}{name}": weight for name, weight in weights.items()}
    tensors.save(path, named, metadata={"format": "pt"})


def to_comfyui(name: str, model_class: str) -> str:
    """Return ComfyUI's name of a weight; both names are without their prefix."""
    blocks, layers = _table(model_class)
    return _renamed(name, layers, before=blocks, after="blocks")


def from_comfyui(name: str, model_class: str) -> str:
    """Return diffusers' name of a weight, the inverse of `to_comfyui`."""
    blocks, layers = _table(model_class)
    inverse = {theirs: ours for ours, theirs in layers.items()}
    return _renamed(name, inverse, before="blocks", after=blocks)


def _table(model_class: str) -> tuple[str, dict[str, str]]:
    if model_class not in _COMFYUI:
        raise ConfigError(
            f"--names comfyui: the names of a {model_class} in ComfyUI are not known. Give "
            "--names diffusers or peft."
        )
    return _COMFYUI[model_class]


def _renamed(name: str, layers: Mapping[str, str], *, before: str, after: str) -> str:
    match = _NAME.fullmatch(name)
    if not match or match["blocks"] != before or match["layer"] not in layers:
        raise ModelError(
            f"--names comfyui: the layer of {name} has no known name there. Give --names diffusers "
            "or peft."
        )
    return f"{after}.{match['number']}.{layers[match['layer']]}.{match['factor']}"


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
