"""What one device does of this project's work, in at most eight minutes: a table as data.

    sh launch/gpu_check.sh              # or: python benchmarks/gpu_check.py --output here.json

| part | on a CUDA device | on a CPU |
|---|---|---|
| matmul | the rate of large matrix products, to which others are compared | the same |
| smoke | `recipes/smoke.toml` from the first unit to the report | the same |
| sample | one guided step of Wan2.1-1.3B's shape, 81 frames of 480 x 832 | a tiny Wan |
| align | an alignment step of the same with a LoRA, against its policy's pass alone | a tiny Wan |
| judge | votes of a critic of Qwen2.5-VL-7B's shape | a tiny Qwen2.5-VL |
| fsdp2 | a sharded step on one rank against the same step unsharded | the same |

Weights are random: only seconds and memory mean anything. A part that fails is told with its error
and the others go on. A part that begins after `--minutes` is left out.
`dualipo plan RECIPE --device here.json` bills a recipe for the device that was measured.
"""

import argparse
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import align_step
import judge
import sample_clip
import torch
import torch.distributed as dist
from diffusers import UniPCMultistepScheduler
from random_models import FAMILIES, WAN_TINY, dtype_of, random_backbone, write
from torch.distributed.fsdp import fully_shard
from torch.utils.flop_counter import FlopCounterMode

from dualipo.config import Align
from dualipo.rounds.device_speed import matmul_rate

ROOT = Path(__file__).resolve().parents[1]
ON_GPU = torch.cuda.is_available()
SHAPE = FAMILIES["wan2.1-1.3b" if ON_GPU else "wan"]
STEPS = 3


def matmul() -> dict[str, float]:
    """Measure the rate of large matrix products."""
    return {"tflops": matmul_rate() / 1e12}


def smoke() -> dict[str, float]:
    """Run the smoke recipe as a user would."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "dualipo.cli.main", "run"]
        recipe = [str(ROOT / "recipes" / "smoke.toml"), f"output_dir={folder}/run"]
        start = time.perf_counter()
        subprocess.run([*command, *recipe], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
        return {"seconds": time.perf_counter() - start}


def sample() -> dict[str, float]:
    """Time the steps of one guided clip."""
    device = torch.device("cuda" if ON_GPU else "cpu")
    with tempfile.TemporaryDirectory() as folder:
        model = random_backbone(SHAPE, Path(folder), dtype_of(SHAPE), device)
        model._scheduler = UniPCMultistepScheduler(
            prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=3.0
        )
        text_1LD, empty_1LD = torch.randn(2, 1, *SHAPE.text_LD, device=device)
        model._empty_caption_LD = empty_1LD[0]
        with FlopCounterMode(display=False) as counter:
            sample_clip.clip(model, SHAPE, text_1LD, 0.0, 1)  # a warm-up
        seconds, _ = sample_clip.clip(model, SHAPE, text_1LD, 0.0, STEPS)
    tflops = counter.get_total_flops() / (seconds / STEPS) / 1e12
    share = tflops / (matmul_rate() / 1e12)
    return {"seconds a step": seconds / STEPS, "tflops": tflops, "share of matmul rate": share}


def align() -> dict[str, float]:
    """Time alignment steps with a LoRA, and the policy's pass alone."""
    settings = Align(
        train_batch_size=1, num_slots=1, rank=SHAPE.rank, gradient_checkpointing=SHAPE.needs_gpu
    )
    with tempfile.TemporaryDirectory() as folder:
        bench = align_step.Bench(SHAPE, settings, Path(folder), dtype_of(SHAPE))
        with align_step.recomputed(bench.module, settings=settings):
            seconds = {}
            for name in ("cached", "policy_only"):
                bench.learn(name)  # a warm-up
                seconds[name] = min(
                    bench._timed(partial(bench.learn, name), 1) for _ in range(STEPS)
                )
            result = {"seconds a step": seconds["cached"], "seconds alone": seconds["policy_only"]}
            if ON_GPU:
                rates = bench.efficiency(seconds["cached"])
                result |= {"share of matmul rate": rates["share"]}
    return result


def votes() -> dict[str, float]:
    """Time a critic's votes on one pair."""
    bench = judge.seven_billion(1) if ON_GPU else judge.long_prefix(1)
    start = time.perf_counter()
    num_votes = bench.ours()
    return {"votes a second": num_votes / (time.perf_counter() - start)}


def fsdp2() -> dict[str, float]:
    """Compare a sharded forward and backward pass on one rank with an unsharded one."""
    device = torch.device("cuda" if ON_GPU else "cpu")
    with tempfile.TemporaryDirectory() as folder:
        store = f"file://{folder}/store"
        backend = "nccl" if ON_GPU else "gloo"
        dist.init_process_group(backend, init_method=store, rank=0, world_size=1)
        try:
            plain, sharded = (_wan(device) for _ in range(2))
            for block in sharded.blocks:
                fully_shard(block)
            fully_shard(sharded)
            loss, seconds = _timed_pass(plain, device)
            loss_sharded, seconds_sharded = _timed_pass(sharded, device)
        finally:
            dist.destroy_process_group()
    return {
        "seconds plain": seconds,
        "seconds sharded": seconds_sharded,
        "difference of losses": abs(loss - loss_sharded),
    }


def _wan(device: torch.device) -> Any:
    from diffusers import WanTransformer3DModel

    torch.manual_seed(0)
    return WanTransformer3DModel(**WAN_TINY).to(device)


def _timed_pass(model: Any, device: torch.device) -> tuple[float, float]:
    draw = torch.Generator().manual_seed(0)
    latents_BCFHW = torch.randn(1, 16, 5, 16, 16, generator=draw).to(device)
    texts_BLD = torch.randn(1, 16, WAN_TINY["text_dim"], generator=draw).to(device)
    noise_levels_B = torch.tensor([500.0], device=device)
    seconds = 0.0
    for _ in range(2):  # the first is a warm-up
        start = time.perf_counter()
        predicted = model(latents_BCFHW, noise_levels_B, texts_BLD).sample
        loss = predicted.square().mean()
        loss.backward()
        value = float(loss)
        seconds = time.perf_counter() - start
    return value, seconds


PARTS: dict[str, Callable[[], dict[str, float]]] = {
    "matmul": matmul,
    "sample": sample,
    "align": align,
    "judge": votes,
    "fsdp2": fsdp2,
    "smoke": smoke,
}


def main() -> int:
    """Do every part, print the table, and write it; return how many failed."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=6.0, help="no part begins after them")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--output", type=Path)
    arguments = parser.parse_args()
    device = torch.cuda.get_device_name() if ON_GPU else "CPU"
    begun, table = time.monotonic(), {}
    for name in arguments.only:
        table[name] = row = _row(PARTS[name], begun, arguments.minutes)
        shown = "  ".join(
            f"{key} {value:.4g}" if isinstance(value, float) else f"{key}: {value}"
            for key, value in row.items()
        )
        print(f"{name:<8}{shown}", flush=True)
    print(write("gpu-check", device, {"parts": table}, arguments.output))
    return sum("error" in row for row in table.values())


def _row(part: Callable[[], dict[str, float]], begun: float, minutes: float) -> dict[str, Any]:
    if time.monotonic() - begun > 60 * minutes:
        return {"left out": f"{minutes:g} minutes were over"}
    if ON_GPU:
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    try:
        row: dict[str, Any] = part()
    except Exception as fault:  # the other parts are worth knowing, whatever this one met
        traceback.print_exc()
        return {"error": f"{type(fault).__name__}: {fault}"}
    if ON_GPU:
        row["peak GB"] = torch.cuda.max_memory_allocated() / 1e9
    return row


if __name__ == "__main__":
    sys.exit(main())
