"""What the embedded models must meet before they ship, measured on clips none was trained on.

The autoencoder keeps every part of the oracle's score of clean clips at 0.9 or more. The base
generator is imperfect on purpose: each part's mean lies between 0.3 and 0.8, and the best of eight
candidates beats the worst by 0.2 or more on average. The large generator is better than the small
one before any alignment. All are measured on the same prompts.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from dualipo.config import Generator
from dualipo.generator import backbone
from dualipo.generator.backbone import Backbone
from dualipo.generator.sample import sample
from dualipo.pretraining import settings
from dualipo.records import DIMENSIONS
from dualipo.seeds import derive
from dualipo.world import oracle
from dualipo.world.corpus import caption, real_clip

NUM_CLIPS = 128
NUM_PROMPTS = 48
MIN_RECONSTRUCTION = 0.9
PART_RANGE = (0.3, 0.8)
MIN_SPREAD = 0.2


def measure_all(
    weights: Path, *, sampling: Generator, num_prompts: int = NUM_PROMPTS
) -> dict[str, dict[str, Any]]:
    """Measure every generator that lies in `weights`, by its folder's name."""
    folders = [variant.folder for variant in settings.VARIANTS.values()]
    found = {
        folder: measure(weights / folder, sampling=sampling, num_prompts=num_prompts)
        for folder in folders
        if (weights / folder / "model_index.json").is_file()
    }
    small, large = (settings.VARIANTS[name].folder for name in ("small", "large"))
    if small in found and large in found:
        means = {name: np.mean([*found[name]["base"].values()]) for name in (small, large)}
        found[large]["passed"]["better than small"] = bool(means[large] > means[small])
    return found


def measure(folder: Path, *, sampling: Generator, num_prompts: int = NUM_PROMPTS) -> dict[str, Any]:
    """Measure one generator's folder; every gate with its verdict."""
    model = backbone.load(folder, max_sequence_length=settings.TEXT_LENGTH, dtype=torch.float32)
    kept = _reconstruction(model)
    parts, spread = _base(model, sampling, num_prompts)
    low, high = PART_RANGE
    return {
        "num_parameters": sum(weight.numel() for weight in model.module.parameters()),
        "reconstruction": kept,
        "base": parts,
        "best_minus_worst_of_eight": spread,
        "passed": {
            "reconstruction": min(kept.values()) >= MIN_RECONSTRUCTION,
            "base": all(low <= mean <= high for mean in parts.values()),
            "spread": spread >= MIN_SPREAD,
        },
    }


def _reconstruction(model: Backbone) -> dict[str, float]:
    clips = [real_clip(derive(settings.SEED, "gate", n)) for n in range(NUM_CLIPS)]
    frames_BFHWC = torch.from_numpy(np.stack([clip.frames_FHW3 for clip in clips]))
    decoded = [model.decode(model.encode_clips(part)) for part in frames_BFHWC.split(32)]
    shown = torch.cat(decoded).numpy()
    scores = [oracle.score(frames, clip.caption) for frames, clip in zip(shown, clips, strict=True)]
    return _means(scores)


def _means(scores: Sequence[oracle.OracleScore]) -> dict[str, float]:
    return {d: float(np.mean([getattr(score, d) for score in scores])) for d in DIMENSIONS}


def _base(model: Backbone, sampling: Generator, num_prompts: int) -> tuple[dict[str, float], float]:
    """Mean of each part, and how far the best candidate lies above the worst on average."""
    prompts = [caption(derive(settings.SEED, "gate prompt", n)) for n in range(num_prompts)]
    captions = [prompt for prompt in prompts for _ in range(8)]
    seeds = [derive(settings.SEED, "gate clip", n) for n in range(len(captions))]
    made = sample(model, captions=captions, seeds=seeds, settings=sampling)
    scores = [
        oracle.score(frames, caption)
        for frames, caption in zip(made.frames_NFHW3.numpy(), captions, strict=True)
    ]
    totals_PK = np.reshape([score.total for score in scores], (num_prompts, 8))
    return _means(scores), float((totals_PK.max(axis=1) - totals_PK.min(axis=1)).mean())
