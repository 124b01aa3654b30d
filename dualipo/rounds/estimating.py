"""An estimate of what a run needs, before it starts: parameters, memory, disk, steps and time.

It is counted from configurations alone (generator/estimate.py). Where a model's folder is not there
yet, the published model of its name is counted, so a plan can be made before a download. The
critic's memory is `critic_memory`'s. What all of it computes, and what that costs, is in `bill.py`.
"""

import functools
import math
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import torch

from dualipo.amounts import count, storage
from dualipo.config import Align, Config, Generator
from dualipo.generator import backbone, published_models
from dualipo.generator.estimate import DecodeCost, Footprint, decode_cost, measure
from dualipo.model_files import guard
from dualipo.rounds import critic_memory
from dualipo.rounds.planning import plan
from dualipo.rounds.run import is_embedded, model_folder
from dualipo.training import optim

Counted = TypeVar("Counted")
_ONE_OF_BOTH = "text encoder or autoencoder"  # where they take turns on the device


@dataclass(frozen=True)
class Estimate:
    """The bytes and floating-point operations of a whole run."""

    footprint: Footprint
    sampling_memory: dict[str, float]
    aligning_memory: dict[str, float]
    host_memory: dict[str, float]
    disk: dict[str, float]
    flops: dict[str, float]


def lines(config: Config) -> list[str]:
    """Return the estimate in words."""
    needs = estimate(config)
    size = needs.footprint
    memory, disk, settings = needs.aligning_memory, needs.disk, config.align
    sampling = sampling_memory(config)
    trained = f"LoRA of rank {settings.rank}" if settings.rank else "every weight"
    shape = "x".join(map(str, size.latent_shape))
    num_clips = plan(config).get("sample.candidates", 0)
    return [
        f"generator: {count(size.num_parameters)} parameters, {count(size.num_trained)} trained "
        f"({trained}); text encoder {count(size.num_text_parameters)}",
        f"clip: latent {shape}, {size.flops / 1e12:.3g} TFLOP a forward pass",
        f"memory of the device, sampling: {storage(sum(sampling.values()))} ({_parts(sampling)})",
        f"memory of {_devices(settings)}, aligning: {storage(sum(memory.values()))} "
        f"({_parts(memory)})",
        f"memory of the host: {storage(sum(needs.host_memory.values()))} "
        f"({_parts(needs.host_memory)})",
        f"disk: {storage(sum(disk.values()))} ({_parts(disk)}); {storage(free_bytes(config))} free",
        f"steps: {num_clips} clips sampled, {plan(config).get('align', 0)} alignment steps of "
        f"{settings.train_batch_size} in {config.rounds} rounds, if no critic is refreshed",
        *critic_memory.lines(config),
    ]


@functools.lru_cache(maxsize=4)
def estimate(config: Config) -> Estimate:
    """Count what the recipe's generator needs; the model's folder may be missing."""
    settings = config.generator
    size = with_folder(config, measure)
    width = getattr(torch, settings.torch_dtype).itemsize
    return Estimate(
        footprint=size,
        sampling_memory=_sampling_memory(size, settings, width),
        aligning_memory=_aligning_memory(size, config.align, width),
        host_memory=_host_memory(size, config, width),
        disk=_disk(size, config, width),
        flops=_flops(size, config),
    )


@functools.lru_cache(maxsize=4)
def decoding(config: Config) -> DecodeCost:
    """Count what decoding a clip takes, which is slower to count than all the rest."""
    return with_folder(config, decode_cost)


def sampling_memory(config: Config) -> dict[str, float]:
    """Return the bytes on a device by use while clips are sampled and decoded."""
    parts, decoded = dict(estimate(config).sampling_memory), decoding(config).num_bytes
    if not config.generator.cpu_offload:
        return parts | {"a clip that is decoded": decoded}
    size = estimate(config).footprint
    at_work = max(parts[_ONE_OF_BOTH], size.num_vae_parameters * 4 + decoded)
    return parts | {_ONE_OF_BOTH: at_work}


def with_folder(config: Config, count_it: Callable[..., Counted]) -> Counted:
    """Count something of the recipe's generator, which has shapes and no weights."""
    settings = config.generator
    with tempfile.TemporaryDirectory() as temporary:
        folder = _folder(config, Path(temporary))
        model = backbone.load(
            folder,
            max_sequence_length=settings.max_sequence_length,
            dtype=getattr(torch, settings.torch_dtype),
            device="meta",
        )
        with guard.reading(folder):
            return count_it(model, folder=folder, settings=settings, align=config.align)


def _folder(config: Config, temporary: Path) -> Path:
    name = config.generator.pretrained_model_name_or_path
    known = published_models.find(name)
    if is_embedded(name) or Path(name).expanduser().is_dir() or known is None:
        return model_folder(name, "generator")
    published_models.write(temporary, known)
    return temporary


def _sampling_memory(size: Footprint, settings: Generator, width: int) -> dict[str, float]:
    """Return the bytes on a device by use while clips are sampled, without what decoding takes."""
    texts, autoencoder = size.num_text_parameters * width, size.num_vae_parameters * 4
    beside = {"text encoder": texts, "autoencoder": autoencoder}
    if settings.cpu_offload:
        beside = {_ONE_OF_BOTH: max(texts, autoencoder)}
    return {
        "transformer": size.num_parameters * width,
        **beside,
        f"{settings.sample_batch_size} clips": size.block_bytes * settings.sample_batch_size,
    }


def _aligning_memory(size: Footprint, align: Align, width: int) -> dict[str, float]:
    """Return the bytes on a device by use; a micro batch's pairs and real clips form one graph."""
    num_shares = align.num_processes
    num_items = align.train_batch_size // num_shares
    num_parts = min(align.gradient_accumulation_steps, num_items)
    sides = 1 if align.loss_type == "kto" else 2
    num_real = align.real_batch_size // num_shares if align.real_nll_ratio else 0
    num_clips = sides * math.ceil(num_items / num_parts) + math.ceil(num_real / num_parts)
    is_cast = align.mixed_precision == "bf16" and width > 2
    return {
        "weights": size.num_parameters * (width + 2 * is_cast) / num_shares,
        "gradients": size.num_trained * 4 / num_shares,
        "optimizer": size.num_trained * optim.MOMENT_BYTES[align.optimizer] / num_shares,
        f"activations of {num_clips} clips": num_clips * size.kept_bytes,
    }


def _host_memory(size: Footprint, config: Config, width: int) -> dict[str, float]:
    """Return the bytes outside the device by use, at most; a model passes through as it is read.

    A pair is asked about in three dimensions and both orders, so six questions share two clips.
    """
    settings, critic = config.generator, config.critic
    clip, every = _clip_bytes(config), _pixels(config)
    num_judged = math.ceil(critic.judge_batch_size / 3)
    return {
        "decoded clips that are kept": min(critic.decoded_clips_mb << 20, every),
        "clips of a batch of questions": min(num_judged * clip, every),
        "clips under way": 2 * settings.sample_batch_size * clip,
        "a model that is read": max(size.num_parameters, size.num_text_parameters) * width,
    }


def _disk(size: Footprint, config: Config, width: int) -> dict[str, float]:
    prompts, settings = config.prompts, config.generator
    num_kept = config.rounds if settings.keep_latents else min(config.rounds, 1)
    num_texts = prompts.num_prompts * num_kept
    num_texts += prompts.num_test_prompts + prompts.num_monitor_prompts
    trained = size.num_trained * (4 + 8)
    num_items, sides = _compared(config)
    num_slots = num_items * config.align.num_slots if config.rounds else 0
    num_real = config.align.num_real_clips if config.align.real_nll_ratio else 0
    latent = math.prod(size.latent_shape) * getattr(torch, settings.latents_dtype).itemsize
    text = math.prod(size.text_shape) * width
    clips = (
        {f"clips at quantizer {settings.clip_qp}, about": _pixels(config) * _kept_share(config)}
        if settings.clip_qp
        else {"lossless clips at most": _pixels(config)}
    )
    return {
        "latents": num_kept * prompts.num_prompts * settings.num_candidates * latent,
        "text embeddings at most": num_texts * text,
        "real clips": num_real * (latent + text),
        "reference errors of an alignment at most": num_slots * sides * 4,
        **clips,
        "generators": 2 * config.rounds * size.num_parameters * width,
        "checkpoints": (config.align.checkpoints_total_limit + 1) * trained,
    }


def _pixels(config: Config) -> float:
    """Return the bytes of all clips' pixels."""
    num_clips = sum(num for stage, num in plan(config).items() if stage.startswith("sample."))
    return num_clips * _clip_bytes(config)


def _kept_share(config: Config) -> float:
    """Return about what share of its pixels' bytes a lossy clip takes.

    Without loss x264 takes about half of them. Every 6 of the quantizer double its step, which
    saves a bit of each number or, where few bits are left, half of what is left.
    """
    return 0.5 * 2 ** (-config.generator.clip_qp / 6)


def _clip_bytes(config: Config) -> float:
    settings = config.generator
    return settings.num_frames * settings.height * settings.width * 3


def _compared(config: Config) -> tuple[int, int]:
    """Return how many pairs or points a round has at most, and how many clips each has."""
    num_prompts = config.prompts.num_prompts
    if config.align.loss_type == "kto":
        return num_prompts * config.generator.num_candidates, 1
    return num_prompts, 2


def _flops(size: Footprint, config: Config) -> dict[str, float]:
    """Return the floating-point operations by stage, counted in forward passes of one clip.

    A backward pass counts as two, through frozen weights as one; checkpointing adds one.
    """
    settings, align = config.generator, config.align
    guided = 2 if settings.guidance_scale > 1 else 1
    units = plan(config)
    num_clips = sum(num for stage, num in units.items() if stage.startswith("sample."))
    is_kto = align.loss_type == "kto"
    num_items, sides = _compared(config)
    steps = units.get("align", 0)
    passes_a_clip = (2 if align.rank else 3) + align.gradient_checkpointing
    num_real = align.real_batch_size if align.real_nll_ratio else 0
    clips_a_step = (sides * align.train_batch_size + num_real) * passes_a_clip
    clips_a_step += align.train_batch_size if is_kto else 0  # z0 is decided by a pass of its own
    return {
        "sampling": size.flops * num_clips * settings.num_inference_steps * guided,
        "reference": size.flops * config.rounds * num_items * sides * align.num_slots,
        "alignment": size.flops * steps * clips_a_step,
    }


def _devices(align: Align) -> str:
    return "the device" if align.num_processes == 1 else f"each of {align.num_processes} devices"


def free_bytes(config: Config) -> int:
    """Return the free space of the disk that the run's folder is on, or will be."""
    path = Path(config.output_dir).expanduser().absolute()
    existing = next(parent for parent in (path, *path.parents) if parent.exists())
    return shutil.disk_usage(existing).free


def _parts(named: dict[str, float]) -> str:
    return ", ".join(f"{name} {storage(value)}" for name, value in named.items())
