"""An estimate of what a run needs, before it starts: parameters, memory, disk, steps and time.

It is counted from configurations alone (generator/estimate.py). Where a model's folder is not there
yet, the published model of its name is counted, so a plan can be made before a download. The
critic's weights are counted from the headers of their files. What all of it computes, and what that
costs, is in `bill.py`.
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
from dualipo.config import Align, Config
from dualipo.critic.models import contexts
from dualipo.generator import backbone, published_models
from dualipo.generator.estimate import Footprint, measure
from dualipo.model_files import guard, weight_files
from dualipo.rounds.planning import plan
from dualipo.rounds.run import is_embedded, model_folder

Counted = TypeVar("Counted")
_TRAINED = 4 + 4 + 8  # bytes a parameter: weight, gradient and AdamW's moments in float32


@dataclass(frozen=True)
class PublishedCritic:
    """A released critic: its repository, its parameters, and the visual tokens of a frame.

    `pixels_a_token` is None where every frame is scaled to one size.
    """

    repository: str
    num_parameters: float
    tokens_a_frame: float
    pixels_a_token: int | None = None


# By the folder that a download makes, in lower case. VILA scales a frame to 384 pixels, whose
# patches of 14 it folds two by two; of Qwen2.5-VL a token covers 28 by 28 pixels of two frames.
_CRITICS = {
    "vila1.5-13b": PublishedCritic("Efficient-Large-Model/VILA1.5-13b", 13.5e9, 196),
    "qwen2.5-vl-7b-instruct": PublishedCritic(
        "Qwen/Qwen2.5-VL-7B-Instruct", 8.3e9, 0, pixels_a_token=2 * 28 * 28
    ),
}


@dataclass(frozen=True)
class Estimate:
    """The bytes and floating-point operations of a whole run."""

    footprint: Footprint
    sampling_memory: float
    aligning_memory: dict[str, float]
    host_memory: dict[str, float]
    disk: dict[str, float]
    flops: dict[str, float]


def lines(config: Config) -> list[str]:
    """Return the estimate in words."""
    needs = estimate(config)
    size = needs.footprint
    memory, disk, settings = needs.aligning_memory, needs.disk, config.align
    trained = f"LoRA of rank {settings.rank}" if settings.rank else "every weight"
    shape = "x".join(map(str, size.latent_shape))
    num_clips = plan(config).get("sample.candidates", 0)
    return [
        f"generator: {count(size.num_parameters)} parameters, {count(size.num_trained)} trained "
        f"({trained}); text encoder {count(size.num_text_parameters)}",
        f"clip: latent {shape}, {size.flops / 1e12:.3g} TFLOP a forward pass",
        f"memory of the device, sampling: {storage(needs.sampling_memory)} "
        f"({config.generator.sample_batch_size} clips), and what the autoencoder decodes with",
        f"memory of {_devices(settings)}, aligning: {storage(sum(memory.values()))} "
        f"({_parts(memory)})",
        f"memory of the host: {storage(sum(needs.host_memory.values()))} "
        f"({_parts(needs.host_memory)})",
        f"disk: {storage(sum(disk.values()))} ({_parts(disk)}); {storage(free_bytes(config))} free",
        f"steps: {num_clips} clips sampled, {plan(config).get('align', 0)} alignment steps of "
        f"{settings.train_batch_size} in {config.rounds} rounds, if no critic is refreshed",
        *_critic(config),
    ]


@functools.lru_cache(maxsize=4)
def estimate(config: Config) -> Estimate:
    """Count what the recipe's generator needs; the model's folder may be missing."""
    settings = config.generator
    size = with_folder(config, measure)
    width = getattr(torch, settings.torch_dtype).itemsize
    encoders = size.num_text_parameters * width + size.num_vae_parameters * 4
    return Estimate(
        footprint=size,
        sampling_memory=size.num_parameters * width
        + encoders
        + size.block_bytes * settings.sample_batch_size,
        aligning_memory=_aligning_memory(size, config.align, width),
        host_memory=_host_memory(size, config, width),
        disk=_disk(size, config, width),
        flops=_flops(size, config),
    )


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


def published_critic(name: str) -> str | None:
    """Return the repository of the published critic that a folder is named after, or None."""
    known = _known_critic(name)
    return known.repository if known else None


def _known_critic(name: str) -> PublishedCritic | None:
    return _CRITICS.get(Path(name).name.lower())


def num_critic(config: Config) -> float:
    """Count the critic's parameters; 0 for one that is neither there nor known by its name."""
    name = config.critic.pretrained_model_name_or_path
    if is_embedded(name) or Path(name).expanduser().is_dir():
        return _num_in_files(model_folder(name, "critic"))
    known = _known_critic(name)
    return known.num_parameters if known else 0


def tokens_a_frame(config: Config) -> float:
    """Return the visual tokens of a frame, by the critic's files or what is published of it."""
    name, clips = config.critic.pretrained_model_name_or_path, config.generator
    if is_embedded(name) or Path(name).expanduser().is_dir():
        folder = model_folder(name, "critic")
        return contexts.tokens_a_frame(folder, settings=config.critic, clips=clips)
    known = _known_critic(name)
    if known and known.pixels_a_token:
        pixels = min(clips.height * clips.width, config.critic.max_pixels)
        return pixels / known.pixels_a_token
    return known.tokens_a_frame if known else 0


def _critic(config: Config) -> list[str]:
    """Return the memory of the critic's weights, to judge and to learn."""
    name = config.critic.pretrained_model_name_or_path
    if config.critic.backend == "server":
        return [f"critic: {name}, served elsewhere"]
    number = num_critic(config)
    if not number:
        return []
    judging = number * getattr(torch, config.critic.torch_dtype).itemsize
    training = storage(number * _TRAINED)
    if rank := config.critic.rank:
        training = f"{storage(judging)} and what a LoRA of rank {rank} takes"
    return [
        f"critic: {count(number)} parameters; memory of the device, judging: {storage(judging)}, "
        f"training: {training}, and activations"
    ]


def _num_in_files(folder: Path) -> int:
    """Count the numbers in a folder's safetensors by their headers."""
    stored = (weight_files.header(path).values() for path in folder.rglob("*.safetensors"))
    return sum(math.prod(weight.shape) for weights in stored for weight in weights)


def _aligning_memory(size: Footprint, align: Align, width: int) -> dict[str, float]:
    """Return the bytes on a device by use; a micro batch's pairs and real clips form one graph."""
    num_shares = align.num_processes
    num_items = align.train_batch_size // num_shares
    num_parts = min(align.gradient_accumulation_steps, num_items)
    sides = 1 if align.loss_type == "kto" else 2
    num_real = align.real_batch_size // num_shares if align.real_nll_ratio else 0
    num_clips = sides * math.ceil(num_items / num_parts) + math.ceil(num_real / num_parts)
    is_cast = align.mixed_precision == "bf16" and width > 2
    moments = {"adamw": 8, "adamw_8bit": 2, "muon": 4}[align.optimizer]
    return {
        "weights": size.num_parameters * (width + 2 * is_cast) / num_shares,
        "gradients": size.num_trained * 4 / num_shares,
        "optimizer": size.num_trained * moments / num_shares,
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
        "text embeddings": num_texts * text,
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
