"""Transformers of both families at random weights, for benchmarks that need no trained model.

There are tiny ones for a CPU, and Wan2.1-1.3B's real shape for a GPU. `write` keeps the results.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from diffusers import (
    AutoencoderKLCogVideoX,
    AutoencoderKLWan,
    CogVideoXDDIMScheduler,
    CogVideoXTransformer3DModel,
    WanTransformer3DModel,
)

from dualipo.generator import cogvideox, wan
from dualipo.store import atomic

RESULTS = Path(__file__).parent / "results"

WAN_TINY: dict[str, Any] = {
    "num_attention_heads": 4,
    "attention_head_dim": 32,
    "ffn_dim": 512,
    "num_layers": 8,
    "text_dim": 64,
    "freq_dim": 64,
    "rope_max_seq_len": 64,
}
COGVIDEOX_TINY: dict[str, Any] = {
    "num_attention_heads": 4,
    "attention_head_dim": 32,
    "num_layers": 8,
    "time_embed_dim": 64,
    "text_embed_dim": 64,
    "sample_height": 16,
    "sample_width": 16,
    "sample_frames": 17,
    "use_rotary_positional_embeddings": True,
}
WAN_1_3B: dict[str, Any] = {
    "num_attention_heads": 12,
    "attention_head_dim": 128,
    "ffn_dim": 8960,
    "num_layers": 30,
    "text_dim": 4096,
    "freq_dim": 256,
}
SCHEDULER: dict[str, Any] = {
    "prediction_type": "v_prediction",
    "rescale_betas_zero_snr": True,
    "snr_shift_scale": 1.0,
}


class Shape(NamedTuple):
    """A shape to train at: a transformer, a clip's size, the text's, and the adapter's rank."""

    is_wan: bool
    transformer: dict[str, Any]
    clip: tuple[int, int, int]  # frames, height, width
    text_LD: tuple[int, int]
    rank: int
    needs_gpu: bool = False


FAMILIES = {
    "wan": Shape(True, WAN_TINY, (17, 128, 128), (512, 64), 16),
    "cogvideox": Shape(False, COGVIDEOX_TINY, (17, 128, 128), (226, 64), 16),
    "wan2.1-1.3b": Shape(True, WAN_1_3B, (81, 480, 832), (512, 4096), 64, needs_gpu=True),
}


def prepare() -> str:
    """Use one thread, print what is measured without a GPU, and return the device's name."""
    torch.set_num_threads(1)
    if torch.cuda.is_available():
        return torch.cuda.get_device_name()
    print("no GPU here: tiny shapes only, in CPU time")
    return "CPU, one thread"


def write(name: str, device: str, results: Mapping[str, Any], output: Path | None) -> Path:
    """Write results as JSON, by default into the folder of results, and return the path."""
    slug = "-".join(device.lower().replace(",", "").split())
    path = output or RESULTS / f"{name}-{slug}.json"
    atomic.make_folder(path.parent)
    atomic.write_json(path, {"device": device, "torch": torch.__version__, **results})
    return path


def dtype_of(shape: Shape) -> torch.dtype:
    """Return the precision a shape is measured in; refuse one that needs a missing GPU."""
    if shape.needs_gpu and not torch.cuda.is_available():
        raise SystemExit("this shape needs a GPU; without one choose --family wan cogvideox")
    return torch.bfloat16 if shape.needs_gpu else torch.float32


def random_backbone(shape: Shape, folder: Path, dtype: torch.dtype, device: torch.device) -> Any:
    """Build a backbone with random weights; its folder gets the autoencoder's settings alone."""
    torch.manual_seed(0)
    transformer = WanTransformer3DModel if shape.is_wan else CogVideoXTransformer3DModel
    module = transformer(**shape.transformer).to(device, dtype)
    with torch.device("meta"):
        vae = AutoencoderKLWan() if shape.is_wan else AutoencoderKLCogVideoX()
    (folder / "vae").mkdir()
    (folder / "vae" / "config.json").write_text(json.dumps(dict(vae.config), default=list))
    family = wan.Wan if shape.is_wan else cogvideox.CogVideoX
    backbone: Any = family(folder, module=module, max_sequence_length=shape.text_LD[0], dtype=dtype)
    if not shape.is_wan:
        backbone._scheduler = CogVideoXDDIMScheduler(**SCHEDULER)  # else read from the folder
    return backbone
