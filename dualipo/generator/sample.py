"""Samples clips of prompts in fixed batches, and says which cannot be used (FAULTS.md 23).

A unit of work is a fixed list of (caption, seed), hence fixed batches: done again, it gives the
same clips bit for bit. It has two halves that share no model, so that one thread may decode a unit
while another denoises the next (`rounds/clip_units.py` does that):

    captions, seeds  -- denoise: text encoder, transformer -->  Denoised: latents and texts
    Denoised         -- decode: autoencoder, batch by batch -->  Clip: frames, latent, fault

Latents and texts are kept, for training runs neither the autoencoder nor the text encoder. Leaves
out storing, and resampling what is rejected: `rounds` does both.

Without step caching a clip's latent is the stock pipeline's for the same caption, seed and batch:
in float32 within 1e-6 for Wan, and for CogVideoX within 1e-5 plus 1e-5 of the value (tested).

Shapes: N clips, P captions, B batch, F frames, H and W pixels, 3 colours, L tokens, D features; a
latent's own axes are written `...`.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from dualipo.config import Generator
from dualipo.generator import acceleration, step_cache
from dualipo.generator.backbone import Backbone
from dualipo.training.precision import autocast

EMPTY = ""  # the caption without which guidance predicts


@dataclass(frozen=True)
class Denoised:
    """Latents on the CPU, batch by batch, and the texts they were made with."""

    batches: list[Tensor]
    texts: dict[str, Tensor]


@dataclass(frozen=True)
class Clip:
    """A decoded clip; `fault` says why it cannot be used, or is None."""

    frames_FHW3: Tensor
    latent: Tensor
    fault: str | None


@dataclass(frozen=True)
class Samples:
    """Clips in the order of their seeds; `faults[n]` says why clip n cannot be used, or is None."""

    frames_NFHW3: Tensor
    latents: Tensor
    texts: dict[str, Tensor]
    faults: list[str | None]


def sample(
    backbone: Backbone, *, captions: Sequence[str], seeds: Sequence[int], settings: Generator
) -> Samples:
    """Sample a clip per (caption, seed); repeat a caption to have several candidates of it."""
    denoised = denoise(backbone, captions=captions, seeds=seeds, settings=settings)
    clips = list(decode(backbone, denoised))
    return Samples(
        torch.stack([clip.frames_FHW3 for clip in clips]),
        torch.cat(denoised.batches),
        denoised.texts,
        [clip.fault for clip in clips],
    )


def denoise(
    backbone: Backbone,
    *,
    captions: Sequence[str],
    seeds: Sequence[int],
    settings: Generator,
    texts: Mapping[str, Tensor] | None = None,
) -> Denoised:
    """Sample a latent per (caption, seed); captions that `texts` has are not encoded again."""
    assert len(captions) == len(seeds) > 0, "one seed a caption"
    known = dict(texts or {})
    unknown = [caption for caption in captions if caption not in known]
    known |= encode_texts(backbone, captions=unknown, batch_size=settings.sample_batch_size)
    batches = []
    for start in range(0, len(seeds), settings.sample_batch_size):
        batch = slice(start, start + settings.sample_batch_size)
        texts_BLD = torch.stack([known[caption] for caption in captions[batch]])
        with (
            autocast(backbone.device, settings),
            acceleration.sampling(backbone.module, settings),
            step_cache.cached(backbone.module, threshold=settings.step_cache),
        ):
            latents_B = backbone.sample(
                texts_BLD,
                seeds=seeds[batch],
                settings=settings,
                empty_LD=known.get(EMPTY),
            )
        batches.append(latents_B.cpu())
    return Denoised(batches, known)


def decode(backbone: Backbone, denoised: Denoised) -> Iterator[Clip]:
    """Yield the clips in order; only one batch's frames are in memory at a time."""
    for latents_B in denoised.batches:
        frames_BFHW3 = backbone.decode(latents_B)
        for frames_FHW3, latent in zip(frames_BFHW3, latents_B, strict=True):
            yield Clip(frames_FHW3, latent, _fault(frames_FHW3, latent))


def encode_texts(
    backbone: Backbone, *, captions: Sequence[str], batch_size: int
) -> dict[str, Tensor]:
    """Encode every distinct caption once: caption -> text_LD."""
    distinct = list(dict.fromkeys(captions))
    texts: dict[str, Tensor] = {}
    for start in range(0, len(distinct), batch_size):
        batch = distinct[start : start + batch_size]
        texts |= zip(batch, backbone.encode_text(batch).cpu(), strict=True)
    return texts


def _fault(frames_FHW3: Tensor, latent: Tensor) -> str | None:
    if not latent.isfinite().all():
        return "its latent is not finite"
    levels_N3 = frames_FHW3.flatten(0, 2)
    if levels_N3.amin(0).equal(levels_N3.amax(0)):  # channel by channel: all red is as bad as grey
        return "its frames are of one colour, or the decoder's output was not finite"
    return None
