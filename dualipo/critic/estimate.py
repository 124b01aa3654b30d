"""A critic's memory, counted on the meta device, where tensors have shapes and no memory.

Language models of few layers run at the prompt's real length, as training and judging would run
them; the peaks of two depths tell that of the whole model. Only configurations are read. Attention
is counted as the fused kernels compute it. Leaves out what the vision tower keeps where it is
tuned, the projector's activations, and the allocator's slack.

Legend: B paths, L tokens of a prompt and its answer, H the language model's width.
"""

import contextlib
import copy
import functools
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForImageTextToText,
    DynamicCache,
)

from dualipo.config import Critic, CriticTraining, Generator
from dualipo.critic.models import contexts, decode, towers
from dualipo.critic.models.families import FAMILIES
from dualipo.critic.models.projector import MmProjector
from dualipo.model_files import guard, settings_files
from dualipo.training import four_bits, lora, optim, recompute
from dualipo.training.live_bytes import FusedAttention, LiveBytes

# Layers of the two shallow models; judging is told from deeper ones, as a cache grows with each.
_LEARNING, _JUDGING = (1, 3), (2, 4)
_QUESTION = 200  # tokens of a question behind the clips, at most


@dataclass(frozen=True, eq=False)
class CriticSize:
    """A critic as its folder's configurations describe it."""

    config: Any  # transformers' configuration of the language model, or of the whole VLM
    num_parameters: int
    settings: Critic
    layers: tuple[int, ...]  # the language model's linear ones, which may be held in 4 bits
    num_adapter: int
    num_trained: int  # with the adapter
    num_tokens: int  # of a question about a pair, without its answer

    @property
    def num_trained_here(self) -> float:
        """The trained weights that a device holds, where several processes share the layers."""
        in_layers = self.num_adapter if self.settings.rank else sum(self.layers)
        return self.num_trained - in_layers * (1 - 1 / self.settings.num_processes)

    @property
    def dtype(self) -> torch.dtype:
        """The number format in which the weights are held."""
        dtype: torch.dtype = getattr(torch, self.settings.torch_dtype)
        return dtype


def measure(folder: Path, *, settings: Critic, clips: Generator) -> CriticSize | None:
    """Read a folder's configurations; None where the length of its prompts is not known."""
    prompt = contexts.of_pair(folder, settings=settings, clips=clips)
    if prompt is None:
        return None
    is_vila = (folder / "llm").is_dir()
    with guard.reading(folder):
        config = AutoConfig.from_pretrained(folder / "llm" if is_vila else folder, **guard.LOCAL)
    llm = _build(config, settings, depth=None)
    eyes = _vila_eyes(folder, llm) if is_vila else []
    decoder = llm.get_decoder()
    num_adapter = lora.num_weights(decoder, rank=settings.rank)
    if settings.rank:
        decoder.requires_grad_(False)
        llm.get_output_embeddings().requires_grad_(False)
    return CriticSize(
        config=config,
        settings=settings,
        num_parameters=_num(weight for part in (llm, *eyes) for weight in part.parameters()),
        layers=tuple(w.weight.numel() for w in decoder.modules() if isinstance(w, nn.Linear)),
        num_adapter=num_adapter,
        num_trained=num_adapter
        + _num(weight for part in (llm, *eyes) for weight in optim.trainable(part).values()),
        num_tokens=prompt.length,
    )


def training_memory(
    size: CriticSize, training: CriticTraining, *, paths_an_item: int
) -> dict[str, float]:
    """Return the bytes on a device by use, while the critic trains; an item has one path or two.

    Several processes share the batch, and the weights of the language model's layers.
    """
    items = training.train_batch_size // size.settings.num_processes
    num_parts = min(training.gradient_accumulation_steps, items)
    num_paths = paths_an_item * math.ceil(items / num_parts)
    is_cast = training.mixed_precision == "bf16" and size.dtype.itemsize > 2
    gradients = 4.0 * size.num_trained_here
    step = _training_peak(
        size,
        dtype=torch.bfloat16 if is_cast else size.dtype,
        num_paths=num_paths,
        has_gradients=num_parts > 1,
    )
    return {
        "weights": _weights(size, is_cast=is_cast),
        "optimizer": float(optim.MOMENT_BYTES[training.optimizer] * size.num_trained_here),
        "gradients": gradients,
        # In a step of one part gradients take the place of activations, layer by layer.
        f"activations of {num_paths} paths": step if num_parts > 1 else max(0.0, step - gradients),
    }


def judging_memory(size: CriticSize) -> dict[str, float]:
    """Return the bytes on a device by use, while the critic judges as many paths as it may."""
    settings = size.settings
    a_prompt = len(settings.questions.names) * settings.num_votes // 2
    num_prompts = max(1, math.ceil(settings.judge_batch_size / a_prompt))
    dtype = torch.bfloat16 if settings.mixed_precision == "bf16" else size.dtype
    whole = _extrapolated(
        size, lambda d: _prefill_peak(size, d, num_prompts, dtype), depths=_JUDGING
    )
    drawn = settings.judge_batch_size * settings.max_new_tokens + a_prompt * _QUESTION
    text = size.config.get_text_config()
    heads = getattr(text, "num_key_value_heads", None) or text.num_attention_heads
    width = getattr(text, "head_dim", None) or text.hidden_size // text.num_attention_heads
    key_values = 2 * text.num_hidden_layers * heads * width * dtype.itemsize
    return {
        "weights": float(size.num_parameters * size.dtype.itemsize),
        f"{num_prompts} pairs of clips": whole,
        f"{settings.judge_batch_size} paths": float(drawn * key_values),
    }


def _weights(size: CriticSize, *, is_cast: bool) -> float:
    """Return the bytes of all weights while they train: an adapter and its like in float32."""
    settings, width = size.settings, size.dtype.itemsize
    plain = size.num_parameters - sum(size.layers) * (1 - 1 / settings.num_processes)
    own = size.num_trained_here if settings.rank else 0
    held = 0.0
    if settings.load_in_4bit:
        plain -= sum(size.layers)
        held = sum(size.layers) * four_bits.BYTES + max(size.layers) * width
    num_adapter = size.num_adapter / settings.num_processes
    whole = plain - (own - num_adapter)
    # Autocast's copies are kept for the backward pass, unless a checkpointed layer makes them anew.
    copies = max(size.layers) if settings.gradient_checkpointing and own else plain
    return held + width * whole + 4 * own + (2 * copies if is_cast else 0)


# torch's options of a checkpoint on the meta device, which draws no numbers.
_ON_META = {
    "use_reentrant": False,
    "preserve_rng_state": False,
    "context_fn": lambda: (contextlib.nullcontext(), FusedAttention()),
}


@functools.lru_cache(maxsize=8)
def _training_peak(
    size: CriticSize, *, dtype: torch.dtype, num_paths: int, has_gradients: bool
) -> float:
    """Return the bytes of activations and new gradients at the worst moment of a step."""
    length = size.num_tokens + size.settings.max_new_tokens

    def peak(depth: int) -> int:
        llm = _build(size.config, size.settings, depth=depth).to(dtype)
        if size.settings.rank:
            lora.inject(llm.get_decoder(), settings=size.settings, seed=0)
            llm.get_output_embeddings().requires_grad_(False)
        llm.train()
        if size.settings.gradient_checkpointing:
            recompute.switch(llm, _ON_META)
        for weight in llm.parameters() if has_gradients else ():
            weight.grad = torch.empty_like(weight) if weight.requires_grad else None
        known = [*llm.parameters(), *llm.buffers(), *(w.grad for w in llm.parameters())]
        with LiveBytes(known) as live, FusedAttention(), torch.device("meta"):
            _learn(llm, num_paths, length, size.settings.max_new_tokens + 1)
        return live.peak

    return _extrapolated(size, peak, depths=_LEARNING)


def _learn(llm: Any, num_paths: int, length: int, keep: int) -> None:
    """Run a step of `chat.ChatCritic.log_probs` forwards and backwards."""
    width = llm.config.get_text_config().hidden_size
    shown_BLH = torch.empty(num_paths, length, width, dtype=llm.dtype, requires_grad=True)
    logits_BRV = _run(llm, shown_BLH, keep=keep).logits[:, :-1]
    targets_BR1 = torch.empty(num_paths, keep - 1, 1, dtype=torch.long)
    decode.log_softmax(logits_BRV).gather(2, targets_BR1).sum().backward()


@torch.no_grad()
def _prefill_peak(size: CriticSize, depth: int, num_prompts: int, dtype: torch.dtype) -> int:
    llm: Any = _build(size.config, size.settings, depth=depth).to(dtype).eval()
    width = size.config.get_text_config().hidden_size
    known = [*llm.parameters(), *llm.buffers()]
    with LiveBytes(known) as live, FusedAttention(), torch.device("meta"):
        shown_BLH = torch.empty(num_prompts, size.num_tokens, width, dtype=dtype)
        cache = DynamicCache(config=llm.config)
        _run(llm, shown_BLH, keep=1, past_key_values=cache, use_cache=True)
    return live.peak


def _run(llm: Any, shown_BLH: torch.Tensor, *, keep: int, **options: Any) -> Any:
    num_paths, length, _ = shown_BLH.shape
    axes = (3,) if "vl" in llm.config.model_type else ()
    return llm(
        inputs_embeds=shown_BLH,
        attention_mask=torch.empty(num_paths, 1, length, length, dtype=torch.bool),
        position_ids=torch.empty(*axes, num_paths, length, dtype=torch.long),
        logits_to_keep=keep,
        **({"use_cache": False} | options),
    )


def _extrapolated(
    size: CriticSize, peak: Callable[[int], int], *, depths: tuple[int, int]
) -> float:
    """Tell a peak at the model's depth from those of two shallow ones."""
    depth = size.config.get_text_config().num_hidden_layers
    few, more = depths
    if depth <= more:
        return peak(depth)
    low, high = peak(few), peak(more)
    return low + (high - low) * (depth - few) / (more - few)


def _build(config: Any, settings: Critic, *, depth: int | None) -> Any:
    """Build the language model on the meta device, with `depth` layers or as many as it has."""
    config = copy.deepcopy(config)
    text = config.get_text_config()
    is_whole = text is not config
    if depth is not None:
        text.num_hidden_layers = depth
        if getattr(text, "layer_types", None):
            text.layer_types = text.layer_types[:depth]
    kind = AutoModelForImageTextToText if is_whole else AutoModelForCausalLM
    with torch.device("meta"):
        llm = kind.from_config(
            config, dtype=getattr(torch, settings.torch_dtype), attn_implementation="sdpa"
        )
    if is_whole:
        family = FAMILIES[config.model_type]
        for name, weight in llm.named_parameters():
            if family.is_tower(name):
                weight.requires_grad_(settings.tune_vision_tower)
    return llm


def _vila_eyes(folder: Path, llm: Any) -> list[nn.Module]:
    """Build a VILA folder's tower and projector on the meta device."""
    tower = towers.on_meta(folder / "vision_tower").requires_grad_(False)
    kind = str(settings_files.read(folder / "mm_projector" / guard.CONFIG)["mm_projector_type"])
    with torch.device("meta"):
        projector = MmProjector(tower.config.hidden_size, llm.config.hidden_size, kind=kind)
    return [tower, projector]


def _num(weights: Iterable[nn.Parameter]) -> int:
    return sum(weight.numel() for weight in weights)
