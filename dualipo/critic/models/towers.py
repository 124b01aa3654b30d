"""VILA's vision towers: SigLIP, and InternViT as published for the 40B model (METHOD.md 3.5).

transformers has InternViT's layers as InternVLVisionModel; the published folder (`intern_vit_6b`)
has the same weights under other names, with query, key and value in one matrix. Such a folder is
read as it is. It is saved in the published layout if the critic's folder was published, else in
transformers' layout. Features are those before or behind the last layer, as config.json says,
without a class token.

Legend: F frames, L patches, C channels, H and W pixels.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor
from transformers import (
    InternVLVisionConfig,
    InternVLVisionModel,
    PreTrainedModel,
    SiglipVisionModel,
)

from dualipo.config import Critic
from dualipo.critic.models import loading
from dualipo.critic.models.vision import IMAGENET, SIGLIP, Scaling
from dualipo.errors import ModelError
from dualipo.model_files import guard, weight_files
from dualipo.store import tensors

PUBLISHED_INTERN_VIT = "intern_vit_6b"
_IN_TRANSFORMERS: dict[str, Any] = {
    "siglip_vision_model": SiglipVisionModel,
    "internvl_vision": InternVLVisionModel,
}
TOWERS = (*_IN_TRANSFORMERS, PUBLISHED_INTERN_VIT)

# Published name of a part of a layer -> transformers' name.
_LAYER = {
    "attn.proj": "attention.projection_layer",
    "attn.q_norm": "attention.q_norm",
    "attn.k_norm": "attention.k_norm",
    "ls1": "lambda_1",
    "ls2": "lambda_2",
    "mlp": "mlp",
    "norm1": "layernorm_before",
    "norm2": "layernorm_after",
}
_EMBEDDINGS = {
    "class_embedding": "cls_token",
    "position_embedding": "position_embeddings",
    "patch_embedding.weight": "patch_embeddings.projection.weight",
    "patch_embedding.bias": "patch_embeddings.projection.bias",
}


def load(folder: Path, *, settings: Critic) -> PreTrainedModel:
    """Read a vision tower of any known kind."""
    kind = _kind(folder)
    if kind in _IN_TRANSFORMERS:
        return loading.read(_IN_TRANSFORMERS[kind], folder, settings=settings)
    return _published_intern_vit(folder, dtype=getattr(torch, settings.torch_dtype))


def on_meta(folder: Path) -> PreTrainedModel:
    """Build a tower on the meta device, from its configuration alone."""
    kind = _kind(folder)
    with guard.reading(folder), torch.device("meta"):
        if kind not in _IN_TRANSFORMERS:
            return InternVLVisionModel(_intern_vit_config(folder))
        tower = _IN_TRANSFORMERS[kind]
        built: PreTrainedModel = tower(tower.config_class.from_pretrained(folder, **guard.LOCAL))
        return built


def refuse(folder: Path) -> int:
    """Raise a ModelError unless a tower loads whole; return the width of its features."""
    kind = _kind(folder)
    if kind in _IN_TRANSFORMERS:
        guard.refuse_transformers(_IN_TRANSFORMERS[kind], folder)
        with guard.reading(folder):
            config = _IN_TRANSFORMERS[kind].config_class.from_pretrained(folder, **guard.LOCAL)
            return int(config.hidden_size)
    stored = weight_files.headers(folder, stem=weight_files.TRANSFORMERS)
    with guard.reading(folder), torch.device("meta"):
        tower = InternVLVisionModel(_intern_vit_config(folder))
        published = {name: torch.empty(weight.shape) for name, weight in stored.items()}
        guard.refuse_other_weights(folder, tower.state_dict(), _renamed(published))
    return int(tower.config.hidden_size)


def save(tower: PreTrainedModel, folder: Path, *, kind: str | None) -> None:
    """Write a tower; of the published `kind` only the weights, because its config.json is kept."""
    if kind != PUBLISHED_INTERN_VIT:
        tower.save_pretrained(folder)
        return
    folder.mkdir(parents=True, exist_ok=True)
    weights = _published_names(tower.state_dict())
    tensors.write(folder / "model.safetensors", weights, metadata={"format": "pt"})


def features(tower: PreTrainedModel, pixels_FCHW: Tensor, *, layer: int = -2) -> Tensor:
    """Return the features [F, L, C] behind a layer of the tower, without a class token.

    -2 is the layer before the last. -1 is the last one, which only a tower without a norm behind it
    gives as it is.
    """
    seen_FLC = tower(pixels_FCHW, output_hidden_states=True).hidden_states[layer]
    return seen_FLC[:, 1:] if tower.config.model_type == "internvl_vision" else seen_FLC


def size(tower: PreTrainedModel) -> tuple[int, int]:
    """Return the height and width of the frames that a tower takes."""
    side = tower.config.image_size
    return (side, side) if isinstance(side, int) else (side[0], side[1])


def default_scaling(tower: PreTrainedModel) -> Scaling:
    """Return the tower's usual scaling of colours, for a folder that does not name one."""
    return IMAGENET if tower.config.model_type == "internvl_vision" else SIGLIP


def _kind(folder: Path) -> str:
    kind = str(guard.config_of(folder).get("model_type"))
    if kind not in TOWERS:
        raise ModelError(f"{folder}: vision tower {kind!r}. Use one of: {', '.join(TOWERS)}.")
    return kind


def _intern_vit_config(folder: Path) -> InternVLVisionConfig:
    theirs = guard.config_of(folder)
    return InternVLVisionConfig(
        hidden_size=theirs["hidden_size"],
        intermediate_size=theirs["intermediate_size"],
        num_hidden_layers=theirs["num_hidden_layers"],
        num_attention_heads=theirs["num_attention_heads"],
        image_size=theirs["image_size"],
        patch_size=theirs["patch_size"],
        attention_bias=theirs["qkv_bias"],
        use_qk_norm=theirs["qk_normalization"],
        norm_type=theirs.get("norm_type", "rms_norm"),
        layer_norm_eps=theirs["layer_norm_eps"],
        hidden_act=theirs.get("hidden_act", "gelu"),
        use_mean_pooling=True,  # no norm behind the last layer
    )


def _published_intern_vit(folder: Path, *, dtype: torch.dtype) -> InternVLVisionModel:
    refuse(folder)
    published: dict[str, Tensor] = {}
    with guard.reading(folder):
        for file in weight_files.files(folder, stem=weight_files.TRANSFORMERS):
            published |= load_file(file)
        tower = InternVLVisionModel(_intern_vit_config(folder))
        tower.load_state_dict(_renamed(published), strict=False)
    return tower.to(dtype)


def _renamed(published: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Give published weights transformers' names; split query, key and value apart."""
    renamed: dict[str, Tensor] = {}
    for name, tensor in published.items():
        place, _, rest = name.partition(".")
        if place == "embeddings" and rest in _EMBEDDINGS:
            renamed[f"embeddings.{_EMBEDDINGS[rest]}"] = tensor
        elif place == "encoder":
            _, number, part = rest.split(".", 2)
            layer = f"encoder.layer.{number}"
            if part.startswith("attn.qkv."):
                for side, third in zip("qkv", tensor.chunk(3), strict=True):
                    renamed[f"{layer}.attention.{side}_proj.{part.rpartition('.')[2]}"] = third
                continue
            key = next(key for key in _LAYER if part == key or part.startswith(key + "."))
            renamed[f"{layer}.{_LAYER[key]}{part.removeprefix(key)}"] = tensor
    return renamed


def _published_names(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Give transformers' weights their published names: the inverse of `_renamed`."""
    embeddings = {ours: theirs for theirs, ours in _EMBEDDINGS.items()}
    parts = {ours: theirs for theirs, ours in _LAYER.items()}
    published: dict[str, Tensor] = {}
    for name, tensor in weights.items():
        place, _, rest = name.partition(".")
        if place == "embeddings":
            published[f"embeddings.{embeddings[rest]}"] = tensor
            continue
        _, number, part = rest.split(".", 2)
        layer, last = f"encoder.layers.{number}", part.rpartition(".")[2]
        if part.startswith("attention.q_proj."):
            sides = [weights[name.replace("q_proj", f"{side}_proj")] for side in "qkv"]
            published[f"{layer}.attn.qkv.{last}"] = torch.cat(sides)
        elif not part.startswith(("attention.k_proj.", "attention.v_proj.")):
            key = next(key for key in parts if part == key or part.startswith(key + "."))
            published[f"{layer}.{parts[key]}{part.removeprefix(key)}"] = tensor
    return published
