"""The seconds of denoising a clip, exact and with step caching, at random weights.

    python benchmarks/sample_clip.py                        # Wan and CogVideoX, tiny, on a CPU
    python benchmarks/sample_clip.py --family wan2.1-1.3b --steps 50 --rotations 2   # real, a GPU

Each rotation samples one guided clip every way in turn, beginning with another one. Seconds are
CPU time on a CPU (run it with OMP_NUM_THREADS=1) and wall time on a GPU. `whole` is the share of
forward passes that ran every block: at random weights it says nothing about a trained model, so
read a way's seconds at its share. `step_caching.py` measures what caching does to a trained model's
clips. Text encoder and autoencoder are left out.
"""

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from align_step import FAMILIES, Shape, dtype_of, prepare, random_backbone, write
from diffusers import UniPCMultistepScheduler

from dualipo.config import Generator
from dualipo.generator import step_cache

EXACT = "exact"


def measure(shape: Shape, thresholds: list[float], steps: int, rotations: int) -> dict[str, Any]:
    """Measure the seconds and the share of whole passes of every way, by rotation."""
    dtype = dtype_of(shape)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    ways = {EXACT: 0.0} | {f"{threshold:g}": threshold for threshold in thresholds}
    results: dict[str, Any] = {way: {"seconds": [], "whole": []} for way in ways}
    with tempfile.TemporaryDirectory() as folder:
        model = random_backbone(shape, Path(folder), dtype, device)
        if shape.is_wan:
            model._scheduler = UniPCMultistepScheduler(
                prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=3.0
            )
        text_1LD, empty_1LD = torch.randn(2, 1, *shape.text_LD, device=device)
        model._empty_caption_LD = empty_1LD[0]
        clip(model, shape, text_1LD, 0.0, 1)  # a warm-up
        for rotation in range(rotations):
            first = rotation % len(ways)
            for way in [*ways][first:] + [*ways][:first]:
                seconds, whole = clip(model, shape, text_1LD, ways[way], steps)
                results[way]["seconds"].append(seconds)
                results[way]["whole"].append(whole)
    return results


def clip(
    model: Any, shape: Shape, text_1LD: torch.Tensor, threshold: float, steps: int
) -> tuple[float, float]:
    """Sample one clip; return the seconds, and the share of passes that ran every block."""
    blocks = model.module.blocks if shape.is_wan else model.module.transformer_blocks
    calls: list[int] = []
    counting = blocks[-1].attn1.register_forward_hook(lambda *_: calls.append(1))
    num_frames, height, width = shape.clip
    settings = Generator(
        num_frames=num_frames,
        height=height,
        width=width,
        num_inference_steps=steps,
        guidance_scale=5.0,
    )
    clock = time.perf_counter if model.device.type == "cuda" else time.process_time
    start = clock()
    with step_cache.cached(model.module, threshold=threshold):
        model.sample(
            text_1LD,
            seeds=[0],
            settings=settings,
        ).cpu()
    seconds = clock() - start
    counting.remove()
    return seconds, len(calls) / (2 * steps)


def main() -> None:
    """Measure the chosen families, and write JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--family", nargs="+", choices=FAMILIES, default=["wan", "cogvideox"])
    parser.add_argument("--thresholds", type=float, nargs="+", default=[0.1, 0.3])
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--rotations", type=int, default=3)
    parser.add_argument("--output", type=Path)
    arguments = parser.parse_args()
    device = prepare()
    how = (arguments.thresholds, arguments.steps, arguments.rotations)
    results = {name: measure(FAMILIES[name], *how) for name in arguments.family}
    path = write("sample-clip", device, {"steps": arguments.steps, **results}, arguments.output)
    print(path.read_text())


if __name__ == "__main__":
    main()
