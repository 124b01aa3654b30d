"""Measures the gates that the embedded models must pass to ship, on clips none was trained on.

The autoencoder keeps every part of the oracle's score of clean clips at 0.9 or more. The base
generator is imperfect on purpose: each part's mean lies between 0.3 and 0.8, and the best of eight
candidates beats the worst by 0.2 or more on average. The large generator is better than the small
one before any alignment: the 95 % interval of their difference lies above 0. All are measured on
the same prompts, from the same noise seeds.
"""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch

from dualipo.config import Generator
from dualipo.evaluation.bootstrap import paired_difference
from dualipo.generator import backbone
from dualipo.generator.backbone import Backbone
from dualipo.generator.sample import sample
from dualipo.pretraining import settings
from dualipo.records import DIMENSIONS
from dualipo.seeds import derive
from dualipo.world import oracle
from dualipo.world.corpus import caption, real_clip

NUM_CLIPS = 128
NUM_PROMPTS = 480  # the large generator's lead is small: fewer could not tell it from chance
CLIPS_IN_MEMORY = 384
MIN_RECONSTRUCTION = 0.9
PART_RANGE = (0.3, 0.8)
MIN_SPREAD = 0.2
Totals = dict[str, list[float]]  # by prompt: the oracle's totals of its candidates


def measure_all(
    weights: Path, *, sampling: Generator, num_prompts: int = NUM_PROMPTS
) -> dict[str, dict[str, Any]]:
    """Measure every generator in the folder `weights`; return the gates by its folder's name."""
    folders = [variant.folder for variant in settings.VARIANTS.values()]
    measured: dict[str, dict[str, Any]] = {}
    totals: dict[str, Totals] = {}
    for folder in folders:
        if (weights / folder / "model_index.json").is_file():
            measured[folder], totals[folder] = measure(
                weights / folder, sampling=sampling, num_prompts=num_prompts
            )
    small, large = (settings.VARIANTS[name].folder for name in ("small", "large"))
    if small in measured and large in measured:
        gain = paired_difference(totals[small], totals[large])
        measured[large]["beyond_small"] = asdict(gain)
        measured[large]["passed"]["better than small"] = gain.low > 0
    return measured


def measure(
    folder: Path, *, sampling: Generator, num_prompts: int = NUM_PROMPTS
) -> tuple[dict[str, Any], Totals]:
    """Measure one generator; return its gates with their verdicts, and its clips' totals."""
    model = backbone.load(folder, max_sequence_length=settings.TEXT_LENGTH, dtype=torch.float32)
    kept = _reconstruction(model)
    parts, totals = _base(model, sampling, num_prompts)
    spread = float(np.mean([np.ptp(of_prompt) for of_prompt in totals.values()]))
    low, high = PART_RANGE
    gates = {
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
    return gates, totals


def _reconstruction(model: Backbone) -> dict[str, float]:
    clips = [real_clip(derive(settings.SEED, "gate", n)) for n in range(NUM_CLIPS)]
    frames_BFHWC = torch.from_numpy(np.stack([clip.frames_FHW3 for clip in clips]))
    decoded = [model.decode(model.encode_clips(part)) for part in frames_BFHWC.split(32)]
    shown = torch.cat(decoded).numpy()
    scores = [oracle.score(frames, clip.caption) for frames, clip in zip(shown, clips, strict=True)]
    return _means(scores)


def _means(scores: Sequence[oracle.OracleScore]) -> dict[str, float]:
    return {d: float(np.mean([getattr(score, d) for score in scores])) for d in DIMENSIONS}


def _base(
    model: Backbone, sampling: Generator, num_prompts: int
) -> tuple[dict[str, float], Totals]:
    """Score eight clips a prompt; return the mean of each part, and every prompt's totals."""
    prompts = [caption(derive(settings.SEED, "gate prompt", n)) for n in range(num_prompts)]
    captions = [prompt for prompt in prompts for _ in range(8)]
    seeds = [derive(settings.SEED, "gate clip", n) for n in range(len(captions))]
    scores: list[oracle.OracleScore] = []
    for start in range(0, len(captions), CLIPS_IN_MEMORY):
        part = slice(start, start + CLIPS_IN_MEMORY)
        sampled = sample(model, captions=captions[part], seeds=seeds[part], settings=sampling)
        clips = zip(sampled.frames_NFHW3.numpy(), captions[part], strict=True)
        scores += [oracle.score(frames, caption) for frames, caption in clips]
    of_prompts = {f"{n}": scores[8 * n : 8 * n + 8] for n in range(num_prompts)}
    totals = {name: [score.total for score in each] for name, each in of_prompts.items()}
    return _means(scores), totals
