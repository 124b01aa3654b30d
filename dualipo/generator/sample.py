"""Sample candidates of prompts in fixed batches; say which clips cannot be used (FAULTS.md 23).

A unit of work is a fixed list of (caption, seed), hence fixed batches: redone, it gives the same
clips bit for bit. Latents and text embeddings are returned too, for training never runs the VAE or
the text encoder. Leaves out storing, and resampling what is rejected: `rounds` does both.

Shapes: N clips, P captions, B batch, F frames, H and W pixels, 3 colours, L tokens, D features; a
latent's own axes are written `...`.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from dualipo.config import Generator
from dualipo.generator import step_cache
from dualipo.generator.backbone import Backbone


@dataclass(frozen=True)
class Samples:
    """Clips in the order asked for; `faults[n]` says why clip n cannot be used, or is None."""

    frames_NFHW3: Tensor
    latents: Tensor
    texts: dict[str, Tensor]
    faults: list[str | None]


def sample(
    backbone: Backbone, *, captions: Sequence[str], seeds: Sequence[int], settings: Generator
) -> Samples:
    """One clip per (caption, seed); repeat a caption to have several candidates of it."""
    assert len(captions) == len(seeds) > 0, "one seed a caption"
    texts = encode_texts(backbone, captions=captions, batch_size=settings.sample_batch_size)
    frames, latents = [], []
    is_mixed = settings.mixed_precision == "bf16"
    for start in range(0, len(seeds), settings.sample_batch_size):
        some = slice(start, start + settings.sample_batch_size)
        texts_BLD = torch.stack([texts[caption] for caption in captions[some]])
        with (
            torch.autocast(backbone.device.type, torch.bfloat16, is_mixed),
            step_cache.cached(backbone.module, threshold=settings.step_cache),
        ):
            latents_B = backbone.sample(
                texts_BLD,
                seeds=seeds[some],
                num_frames=settings.num_frames,
                height=settings.height,
                width=settings.width,
                num_inference_steps=settings.num_inference_steps,
                guidance_scale=settings.guidance_scale,
            )
        frames.append(backbone.decode(latents_B))
        latents.append(latents_B.cpu())
    frames_NFHW3, all_latents = torch.cat(frames), torch.cat(latents)
    faults = [_fault(*clip) for clip in zip(frames_NFHW3, all_latents, strict=True)]
    return Samples(frames_NFHW3, all_latents, texts, faults)


def encode_texts(
    backbone: Backbone, *, captions: Sequence[str], batch_size: int
) -> dict[str, Tensor]:
    """text_LD of every distinct caption, each encoded once."""
    distinct = list(dict.fromkeys(captions))
    texts: dict[str, Tensor] = {}
    for start in range(0, len(distinct), batch_size):
        some = distinct[start : start + batch_size]
        texts |= zip(some, backbone.encode_text(some).cpu(), strict=True)
    return texts


def _fault(frames_FHW3: Tensor, latent: Tensor) -> str | None:
    if not latent.isfinite().all():
        return "its latent is not finite"
    if frames_FHW3.min() == frames_FHW3.max():
        return "its frames are of one colour, or the decoder's output was not finite"
    return None
