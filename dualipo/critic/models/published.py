"""The published critics' configurations (METHOD.md 3.5): what an estimate needs before a download.

`write` makes a folder in the model's layout that holds configurations and no weights. Leaves out
tokenizers.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_QWEN_TEXT: dict[str, Any] = {"model_type": "qwen2_5_vl_text", "max_position_embeddings": 128000}
_QWEN_VISION: dict[str, Any] = (
    {"model_type": "qwen2_5_vl_vision", "patch_size": 14, "spatial_merge_size": 2}
    | {"depth": 32, "hidden_size": 1280, "intermediate_size": 3420, "num_heads": 16}
    | {"temporal_patch_size": 2}
)
_SIGLIP: dict[str, Any] = (
    {"model_type": "siglip_vision_model", "image_size": 384, "patch_size": 14}
    | {"hidden_size": 1152, "intermediate_size": 4304}
    | {"num_hidden_layers": 27, "num_attention_heads": 16}
)


@dataclass(frozen=True)
class Published:
    """A released critic: where it can be downloaded, and its configurations by file."""

    repository: str
    configs: dict[str, dict[str, Any]]


def _qwen(repository: str, *, ties: bool, **text: Any) -> Published:
    hidden = text["hidden_size"]
    config = {
        "model_type": "qwen2_5_vl",
        "tie_word_embeddings": ties,
        "text_config": _QWEN_TEXT | {"tie_word_embeddings": ties} | text,
        "vision_config": _QWEN_VISION | {"out_hidden_size": hidden},
    }
    return Published(repository, {"config.json": config})


def _vila(repository: str, **text: Any) -> Published:
    llama = {"model_type": "llama", "vocab_size": 32000, "max_position_embeddings": 4096}
    configs: dict[str, dict[str, Any]] = {
        "config.json": {"chat_template": "vicuna_v1", "model_max_length": 4096},
        "llm/config.json": llama | text,
        "vision_tower/config.json": _SIGLIP,
        "mm_projector/config.json": {"mm_projector_type": "mlp_downsample"},
    }
    return Published(repository, configs)


# By the name of the folder that a download makes, in lower case.
PUBLISHED = {
    "vila1.5-3b": _vila(
        "Efficient-Large-Model/VILA1.5-3b",
        hidden_size=2560,
        intermediate_size=6912,
        num_hidden_layers=32,
        num_attention_heads=20,
    ),
    "vila1.5-13b": _vila(
        "Efficient-Large-Model/VILA1.5-13b",
        hidden_size=5120,
        intermediate_size=13824,
        num_hidden_layers=40,
        num_attention_heads=40,
    ),
    "qwen2.5-vl-3b-instruct": _qwen(
        "Qwen/Qwen2.5-VL-3B-Instruct",
        ties=True,
        hidden_size=2048,
        intermediate_size=11008,
        num_hidden_layers=36,
        num_attention_heads=16,
        num_key_value_heads=2,
        vocab_size=151936,
    ),
    "qwen2.5-vl-7b-instruct": _qwen(
        "Qwen/Qwen2.5-VL-7B-Instruct",
        ties=False,
        hidden_size=3584,
        intermediate_size=18944,
        num_hidden_layers=28,
        num_attention_heads=28,
        num_key_value_heads=4,
        vocab_size=152064,
    ),
}


def find(name: str) -> Published | None:
    """Return the published critic that a folder is named after, or None."""
    return PUBLISHED.get(Path(name).name.lower())


def write(folder: Path, model: Published) -> None:
    """Write the model's configurations in its folder's layout."""
    for name, config in model.configs.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(config, indent=2) + "\n")
