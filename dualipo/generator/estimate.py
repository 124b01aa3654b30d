"""A generator's costs, counted on the meta device, where tensors have shapes and no memory.

Transformers of one and of two blocks run at the clip's real shape; the difference is a block's
cost, and the whole is the first plus that times the other blocks. Only configurations are read.
Attention is counted as the fused kernels compute it, which never keep its matrix. Leaves out
the allocator's slack, and buffers of communication.
"""

import copy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import diffusers
import torch
import transformers
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from dualipo.config import Align, Generator
from dualipo.generator.backbone import Backbone
from dualipo.store import atomic
from dualipo.training import lora, optim
from dualipo.training.live_bytes import FusedAttention, LiveBytes, saved_bytes, sizes


@dataclass(frozen=True)
class Footprint:
    """A generator's size, and the cost of one clip in a forward pass of its transformer."""

    num_parameters: int
    num_trained: int
    num_text_parameters: int
    num_vae_parameters: int
    latent_shape: tuple[int, ...]
    text_shape: tuple[int, int]
    flops: float
    kept_bytes: float  # activations that the backward pass needs
    block_bytes: float  # one block's share of them, uncheckpointed


@dataclass(frozen=True)
class DecodeCost:
    """The cost of decoding one clip: operations, and bytes beside the autoencoder's weights."""

    flops: float
    num_bytes: float


@dataclass(frozen=True)
class _Pass:
    """The costs of a forward pass: its work, what autograd saved, and the blocks' inputs."""

    flops: float
    saved_bytes: float
    input_bytes: float


def measure(backbone: Backbone, *, folder: Path, settings: Generator, align: Align) -> Footprint:
    """Count the footprint of a backbone that was loaded on the meta device from `folder`."""
    frames, height, width = settings.num_frames, settings.height, settings.width
    shape = backbone.latent_shape(num_frames=frames, height=height, width=width)
    text_dim = _text_dim(folder)
    text_shape = (settings.max_sequence_length, text_dim)
    first, both = (_pass(backbone, depth, shape, text_shape, align) for depth in (1, 2))
    num_more = _settings(backbone)["num_layers"] - 1
    block = both.saved_bytes - first.saved_bytes
    kept = first.saved_bytes + num_more * block
    if align.gradient_checkpointing:
        kept = first.saved_bytes + num_more * (both.input_bytes - first.input_bytes)
    return Footprint(
        num_parameters=sum(weight.numel() for weight in backbone.module.parameters()),
        num_trained=_num_trained(backbone, align),
        num_text_parameters=_num_parameters(folder, "text_encoder"),
        num_vae_parameters=_num_parameters(folder, "vae"),
        latent_shape=shape,
        text_shape=text_shape,
        flops=first.flops + num_more * (both.flops - first.flops),
        kept_bytes=kept,
        block_bytes=block,
    )


@torch.no_grad()
def decode_cost(
    backbone: Backbone, *, folder: Path, settings: Generator, align: Align
) -> DecodeCost:
    """Count what decoding one clip's latent takes."""
    vae, latent_BCFHW = _decoding(backbone, folder, settings)
    known = [*vae.parameters(), *vae.buffers()]
    # Wan decodes in float32, CogVideoX in the weights' format (`_vae` of each).
    dtype = torch.float32 if _is_wan(vae) else getattr(torch, settings.torch_dtype)
    share = dtype.itemsize / torch.float32.itemsize
    with (
        FlopCounterMode(display=False) as counter,
        LiveBytes(known) as live,
        torch.device("meta"),
    ):
        vae.decode(latent_BCFHW)
    flops = float(counter.get_total_flops())
    if not settings.vae_tiling:
        return DecodeCost(flops, live.peak * share)
    side = _tile(vae)
    with LiveBytes(known) as live, torch.device("meta"):
        vae.decode(latent_BCFHW[..., :side, :side])
    pixels = settings.num_frames * settings.height * settings.width * 3
    return DecodeCost(flops, (live.peak + 2 * pixels * torch.float32.itemsize) * share)


def _decoding(backbone: Backbone, folder: Path, settings: Generator) -> tuple[Any, Tensor]:
    """Return the autoencoder and a clip's latent on the meta device."""
    size = settings.num_frames, settings.height, settings.width
    shape = backbone.latent_shape(num_frames=size[0], height=size[1], width=size[2])
    axes = [1 + backbone.latent_axes[1:].index(axis) for axis in "CFHW"]
    vae: Any = _module(folder, "vae")
    return vae, torch.empty(1, *shape, device="meta").permute(0, *axes)


def _tile(vae: Any) -> int:
    """Return the side of a tile in the latent."""
    if (side := getattr(vae, "tile_latent_min_width", None)) is not None:
        return int(side)
    return int(vae.tile_sample_min_width // vae.spatial_compression_ratio)


def _is_wan(vae: Any) -> bool:
    return isinstance(vae, diffusers.AutoencoderKLWan)


def _pass(
    backbone: Backbone,
    depth: int,
    shape: tuple[int, ...],
    text_shape: tuple[int, int],
    align: Align,
) -> _Pass:
    """Run `depth` blocks for one clip, as training would."""
    shallow: Any = copy.copy(backbone)
    whole: Any = backbone.module
    dtype = torch.bfloat16 if align.mixed_precision == "bf16" else whole.dtype
    with torch.device("meta"):
        module = type(whole).from_config(_settings(backbone) | {"num_layers": depth})
        shallow.module = nn.Module.to(module, dtype=dtype)
        if align.rank:
            targets = backbone.lora_targets
            lora.attach(shallow.module, targets=targets, settings=align, seed=0)
        inputs = [torch.empty(1, *shape), torch.empty(1), torch.empty(1, *text_shape)]
    given: list[Tensor] = []

    def block_inputs(block: nn.Module, *arguments: Any) -> Any:
        given.extend(argument for argument in arguments if isinstance(argument, Tensor))
        return block(*arguments)

    shallow.module.enable_gradient_checkpointing(block_inputs)
    with (
        saved_bytes(shallow.module) as saved,
        FlopCounterMode(display=False) as counter,
        FusedAttention(),
    ):
        shallow.predict(inputs[0], levels_B=inputs[1], text_BLD=inputs[2])
    return _Pass(counter.get_total_flops(), sum(saved.values()), sum(sizes(given).values()))


def _settings(backbone: Backbone) -> dict[str, Any]:
    module: Any = backbone.module
    return dict(module.config)


def _num_trained(backbone: Backbone, align: Align) -> int:
    """Count all weights, or an adapter's."""
    if not align.rank:
        return sum(weight.numel() for weight in optim.trainable(backbone.module).values())
    return lora.num_weights(backbone.module, rank=align.rank, targets=backbone.lora_targets)


def _text_dim(folder: Path) -> int:
    return int(atomic.read_json(folder / "text_encoder" / "config.json")["d_model"])


def _num_parameters(folder: Path, part: str) -> int:
    return sum(weight.numel() for weight in _module(folder, part).parameters())


def _module(folder: Path, part: str) -> Any:
    """Build a part on the meta device from its configuration, by the index's class."""
    library, name = atomic.read_json(folder / "model_index.json")[part]
    model: Any = getattr({"diffusers": diffusers, "transformers": transformers}[library], name)
    with torch.device("meta"):
        if library == "transformers":
            return model(model.config_class.from_pretrained(folder / part))
        return model.from_config(model.load_config(folder / part))
