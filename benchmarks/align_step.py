"""The cost of a pair: four forward passes as peers do, two batched ones, one with cached errors.

    python benchmarks/align_step.py                          # Wan and CogVideoX, tiny, on a CPU
    python benchmarks/align_step.py --rotations 1 --repeats 1 --output here.json    # does it work?
    python benchmarks/align_step.py --family wan2.1-1.3b     # real shape, random weights, a GPU

Each rotation takes every variant in turn, there and back several times, and begins with another
one. Its ratio of two variants is the median over neighbouring times, so a machine that is slower
for a moment slows both. A rotation before the first warms up. Seconds are CPU time on a CPU (run it
with OMP_NUM_THREADS=1) and synchronised wall time on a GPU. Peak memory is a child process's, or
the GPU's. Each family is measured in a process of its own, whose allocator keeps its pages: pages
that come and go would cost a tenth of a step, now of one variant, now of another. All variants
compute the same loss with the same library kernels, in the training loop's context. Left out are
the optimizer's step, which is the same for all, and what is measured every `ratio_every` steps.
"""

import argparse
import functools
import gc
import json
import multiprocessing
import os
import resource
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import torch
from random_models import FAMILIES, Shape, dtype_of, prepare, random_backbone, write
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from dualipo.config import Align
from dualipo.evaluation.report.report_tables import Table
from dualipo.generator import losses
from dualipo.generator.align import Alignment, Prepared
from dualipo.generator.objectives import Dpo
from dualipo.generator.preference_sets import PreferenceSet
from dualipo.generator.reference import ReferenceErrors, measure
from dualipo.generator.step_batches import Steps
from dualipo.generator.training_errors import single_errors
from dualipo.training import lora
from dualipo.training.precision import forward_pass
from dualipo.training.recompute import recomputed

Seconds = dict[str, list[list[float]]]  # variant -> seconds by rotation and repeat

VISITS = (1, 2, 4, 10)
KEEP_MEMORY = dict.fromkeys(("MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_"), str(2**31 - 1))
# The bars to hold: a ratio, its end over the rotations, and its side of a number.
BARS = (
    ("cached over policy_only", "highest", "at most", 1.05),
    ("four_forwards over cached", "median", "at least", 1.35),
    ("four_forwards over cached", "lowest", "at least", 1.25),
    ("four_forwards over cached, set-up over 4 visits", "median", "at least", 1.2),
)


def main() -> None:
    """Measure the chosen families, and write JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--family", nargs="+", choices=FAMILIES, default=["wan", "cogvideox"])
    parser.add_argument("--rotations", type=int, default=8)
    parser.add_argument("--repeats", type=int, default=15, help="pairs a variant and rotation")
    parser.add_argument("--output", type=Path)
    arguments = parser.parse_args()
    device = prepare()
    os.environ |= KEEP_MEMORY  # glibc reads it as the families' processes start
    results: dict[str, Any] = {}
    for name in arguments.family:
        with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as process:
            task = FAMILIES[name], arguments.rotations, arguments.repeats
            results[name] = process.submit(measure_family, *task).result()
        path = write("align-step", device, {"families": results}, arguments.output)
        shown = {key: results[name][key] for key in ("parameters", "ratios", "bars")}
        print(name, json.dumps(shown, indent=2), path, flush=True)


def measure_family(shape: Shape, rotations: int, repeats: int) -> dict[str, Any]:
    """Measure seconds a pair by variant and rotation, their ratios, and each one's peak memory."""
    torch.set_num_threads(1)
    dtype = dtype_of(shape)
    settings = Align(
        train_batch_size=1,
        num_slots=1,
        rank=shape.rank,
        gradient_checkpointing=shape.needs_gpu,
    )
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(shape, settings, Path(folder), dtype)
        with recomputed(bench.module, device=bench.device, settings=settings):
            # Memory first, for a process keeps what its largest step once took.
            memory = {name: bench.peak_mb(step) for name, step in bench.variants.items()}
            seconds = bench.rotate(rotations, repeats)
            compared = ratios(seconds)
            result = {
                "parameters": bench.parameters(),
                "seconds_per_pair": {
                    name: [statistics.median(spent) for spent in rotated]
                    for name, rotated in seconds.items()
                },
                "ratios": compared,
                "bars": bars(compared),
                "peak_mb": memory,
            }
            if bench.device.type == "cuda":
                result["share_of_matmul_rate"] = bench.efficiency(min(map(min, seconds["cached"])))
    return result


class Bench:
    """One model with an adapter, one pair, and the variants of a step on it."""

    def __init__(self, shape: Shape, settings: Align, folder: Path, dtype: torch.dtype) -> None:
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.backbone = random_backbone(shape, folder, dtype, self.device)
        self.module: Any = self.backbone.module
        self._settings = settings
        self._num_model = sum(weight.numel() for weight in self.module.parameters())
        pair = _pair(self.backbone, shape)
        with forward_pass(self.device, settings):
            errors: ReferenceErrors = measure(
                self.backbone, preferences=pair, settings=settings, seed=0
            )
        self.adapter = lora.attach(
            self.module, targets=self.backbone.lora_targets, settings=settings, seed=0
        )
        self.module.train()
        self.batch = Steps(self.backbone, pair, None, errors, settings, 0).batch(0)
        self._sizes = {weight.numel() for weight in self.module.parameters()}
        self._num_before = num_held(self._sizes)
        self._alignment = Alignment(self.backbone, Dpo(self.backbone, settings), settings=settings)
        self.variants: dict[str, Callable[[], Tensor]] = {
            "four_forwards": self.four_forwards,
            "two_batched": self.two_batched,
            "cached": self.cached,
            "policy_only": self.policy_only,
            "cache_setup": self.cache_setup,
        }

    def parameters(self) -> dict[str, int]:
        """Count the weights of model and adapter, and require that no second copy is held.

        Tensors of the weights' sizes are counted before and after the variants ran, be they
        parameters or a state dict's.
        """
        num_adapter = sum(weight.numel() for weight in self.adapter.values())
        before, after = self._num_before, num_held(self._sizes)
        assert before < 1.1 * (self._num_model + num_adapter), "a second copy of the weights"
        assert after <= before, "a variant left weights behind"
        return {
            "model": self._num_model,
            "adapter": num_adapter,
            "in_memory_before": before,
            "in_memory_after": after,
        }

    def four_forwards(self) -> Tensor:
        """Run winner and loser one by one, with the adapter and, without a graph, without it."""
        policy = {side: self._errors(side) for side in self.batch["latents"]}
        self.module.disable_adapters()
        with torch.no_grad():
            reference = {side: self._errors(side) for side in self.batch["latents"]}
        self.module.enable_adapters()
        return self._dpo(policy, reference)

    def two_batched(self) -> Tensor:
        """Run winner and loser in one pass, with the adapter and without it."""
        policy = self._both()
        self.module.disable_adapters()
        with torch.no_grad():
            reference = self._both()
        self.module.enable_adapters()
        return self._dpo(policy, reference)

    def cached(self) -> Tensor:
        """Run this project's own step: one pass, with the reference's errors read."""
        return self._alignment.loss(self.batch, Prepared(None, 0.0))[0]

    def policy_only(self) -> Tensor:
        """Run the least that any step does: one pass over both clips, and its backward pass."""
        both = self._both()
        return (both["winners"] + both["losers"]).mean()

    @torch.no_grad()
    def cache_setup(self) -> Tensor:
        """Measure a slot's errors, as is done once for each; there is no backward pass."""
        return self._both()["winners"].mean()

    def rotate(self, rotations: int, repeats: int) -> Seconds:
        """Time every variant on the pair, `repeats` times in each rotation."""
        names = list(self.variants)
        seconds: Seconds = {name: [] for name in names}
        for rotation in range(-1, rotations):  # the first one is a warm-up
            first = rotation % len(names)
            order = names[first:] + names[:first]
            spent: dict[str, list[float]] = {name: [] for name in names}
            for repeat in range(repeats):
                for name in order if repeat % 2 else reversed(order):
                    step = functools.partial(self.learn, self.variants[name])
                    spent[name].append(self._timed(step, 1))
            if rotation >= 0:
                for name in names:
                    seconds[name].append(spent[name])
        return seconds

    def learn(self, variant: Callable[[], Tensor]) -> None:
        """Compute a loss and its backward pass as the training loop does."""
        with forward_pass(self.device, self._settings):
            loss = variant()
        if loss.requires_grad:
            loss.backward()
        for weight in self.adapter.values():
            weight.grad = None

    def peak_mb(self, variant: Callable[[], Tensor]) -> float:
        """Return the GPU's peak memory, or that of a child process that takes two steps."""
        step = functools.partial(self.learn, variant)
        if self.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats()
            self._timed(step, 2)
            return torch.cuda.max_memory_allocated() / 2**20
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            self._timed(step, 2)
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
            os.write(writer, str(peak).encode())
            os._exit(0)
        os.waitpid(child, 0)
        os.close(writer)
        with os.fdopen(reader) as report:
            return float(report.read())

    def efficiency(self, seconds: float) -> dict[str, float]:
        """Compare the cached step's arithmetic a second with a large matrix product's."""
        with FlopCounterMode(display=False) as counter:
            self.learn(self.cached)
        size = 8192
        left, right = torch.randn(2, size, size, device=self.device, dtype=self.module.dtype)
        spent = self._timed(lambda: torch.mm(left, right), 20) / 20
        rate, peak = counter.get_total_flops() / seconds, 2 * size**3 / spent
        return {"step_tflops": rate / 1e12, "matmul_tflops": peak / 1e12, "share": rate / peak}

    def _errors(self, side: str) -> Tensor:
        return single_errors(
            self.backbone, latents=self.batch["latents"][side], **self.batch["draw"]
        )

    def _both(self) -> dict[str, Tensor]:
        sides, draw = self.batch["latents"], self.batch["draw"]
        errors = single_errors(
            self.backbone,
            latents=torch.cat(list(sides.values())),
            **{name: torch.cat([drawn, drawn]) for name, drawn in draw.items()},
        )
        return dict(zip(sides, errors.chunk(2), strict=True))

    def _dpo(self, policy: dict[str, Tensor], reference: dict[str, Tensor]) -> Tensor:
        loss_B, _ = losses.dpo_loss(
            policy["winners"],
            policy_l=policy["losers"],
            reference_w=reference["winners"],
            reference_l=reference["losers"],
            beta=self._settings.beta_dpo,
        )
        return loss_B.mean()

    def _timed(self, step: Callable[[], Any], repeats: int) -> float:
        on_gpu = self.device.type == "cuda"
        clock = time.perf_counter if on_gpu else time.process_time
        if on_gpu:
            torch.cuda.synchronize()
        start = clock()
        for _ in range(repeats):
            step()
        if on_gpu:
            torch.cuda.synchronize()
        return clock() - start


def ratios(seconds: Seconds) -> dict[str, dict[str, float]]:
    """Return the lowest, median and highest of the rotations' ratios, from neighbouring times."""
    ratio_of: dict[str, Callable[[dict[str, float]], float]] = {
        "cached over policy_only": lambda times: times["cached"] / times["policy_only"],
        "four_forwards over cached": lambda times: times["four_forwards"] / times["cached"],
        "two_batched over cached": lambda times: times["two_batched"] / times["cached"],
    }
    for visits in VISITS:
        ratio_of[f"four_forwards over cached, set-up over {visits} visits"] = functools.partial(
            _with_setup, visits
        )
    rotations = [
        [dict(zip(seconds, times, strict=True)) for times in zip(*rotation, strict=True)]
        for rotation in zip(*seconds.values(), strict=True)
    ]
    compared = {
        name: [statistics.median(map(ratio, repeats)) for repeats in rotations]
        for name, ratio in ratio_of.items()
    }
    return {
        name: {
            "lowest": min(values),
            "median": statistics.median(values),
            "highest": max(values),
        }
        for name, values in compared.items()
    }


def _with_setup(visits: int, times: dict[str, float]) -> float:
    return times["four_forwards"] / (times["cached"] + times["cache_setup"] / visits)


def bars(compared: dict[str, dict[str, float]]) -> dict[str, bool]:
    """Tell for each bar whether it is held."""
    return {
        f"{ratio}: {end} {side} {bar}": (
            compared[ratio][end] <= bar if side == "at most" else compared[ratio][end] >= bar
        )
        for ratio, end, side, bar in BARS
    }


def table(results: Mapping[str, Any]) -> str:
    """Format every family's ratios, peak memory and bars, in markdown."""
    families = results["families"]
    of_all = list(families.values())
    rows = []
    for ratio in sorted(of_all[0]["ratios"], key=lambda name: (len(name), name)):  # 10 after 4
        ends = [result["ratios"][ratio] for result in of_all]
        cells = [f"{x['lowest']:.2f} / {x['median']:.2f} / {x['highest']:.2f}" for x in ends]
        rows.append([ratio, *cells])
    for variant in ("four_forwards", "cached"):
        cells = [f"{result['peak_mb'][variant]:.0f} MB" for result in of_all]
        rows.append([f"peak memory, {variant}", *cells])
    for bar in of_all[0]["bars"]:
        cells = ["held" if result["bars"][bar] else "**missed**" for result in of_all]
        rows.append([f"bar: {bar}", *cells])
    return Table(["lowest / median / highest", *families], rows).in_markdown()


def _pair(backbone: Any, shape: Shape) -> PreferenceSet:
    num_frames, height, width = shape.clip
    sizes = backbone.latent_shape(num_frames=num_frames, height=height, width=width)
    winner, loser = torch.randn(2, 1, *sizes)
    texts = {"x": torch.randn(shape.text_LD)}
    return PreferenceSet(
        ids=["pair"], caption_keys=["x"], texts=texts, winners=winner, losers=loser
    )


def num_held(sizes: set[int]) -> int:
    """Count the elements of all tensors whose storage is as large as one of `sizes`."""
    gc.collect()
    tensors = [item for item in gc.get_objects() if type(item) in (Tensor, nn.Parameter)]
    held = {
        tensor.untyped_storage().data_ptr(): tensor.untyped_storage().nbytes() // tensor.itemsize
        for tensor in tensors
        if tensor.device.type != "meta"
    }
    return sum(num for num in held.values() if num in sizes)


if __name__ == "__main__":
    main()
