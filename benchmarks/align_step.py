"""The cost of a pair: four forward passes as peers run them, two batched ones, and our step.

    python benchmarks/align_step.py                          # Wan and CogVideoX, tiny, on a CPU
    python benchmarks/align_step.py --rotations 1 --repeats 1 --output here.json    # does it work?
    python benchmarks/align_step.py --family wan2.1-1.3b     # real shape, random weights, a GPU

Each rotation takes every variant in turn, there and back several times, and begins with another
one. Its ratio of two variants is the median over neighbouring times, so a machine that is slower
for a moment slows both. A rotation before the first warms up. Seconds are CPU time on a CPU (run it
with OMP_NUM_THREADS=1) and synchronised wall time on a GPU. Peak memory is a child process's, or
the GPU's. Each family is measured in a process of its own, whose allocator keeps its pages: pages
that come and go would cost a tenth of a step, now of one variant, now of another.

`four_forwards` is the peers' order of work: one clip a pass, policy and reference, no gradient norm
measured, the library's own attention kernel. `ours` is a step of this project with the kernel that
its training loop chooses, and with its share of the measurement that every `ratio_every`-th step
makes. `policy_only` is the policy's pass and back alone, with the library's kernel; with plain
matrix products for attention it is `policy_plain`. Left out is the optimizer's step, which is the
same for all.
"""

import argparse
import contextlib
import functools
import gc
import json
import multiprocessing
import os
import resource
import statistics
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import torch
from align_ratios import Seconds, bars, ratios
from random_models import FAMILIES, Shape, dtype_of, prepare, random_backbone, write
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from dualipo.config import Align
from dualipo.generator import losses
from dualipo.generator.align import Alignment, Prepared
from dualipo.generator.objectives import Dpo
from dualipo.generator.preference_sets import PreferenceSet
from dualipo.generator.reference import ReferenceErrors, measure
from dualipo.generator.step_batches import Steps
from dualipo.generator.training_errors import single_errors
from dualipo.training import lora
from dualipo.training.precision import autocast, forward_pass, takes_wide_attention
from dualipo.training.recompute import recomputed

OURS = ("cached", "measuring", "cache_setup")  # variants with this project's choice of kernel
KEEP_MEMORY = dict.fromkeys(("MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_"), str(2**31 - 1))


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
        real_nll_ratio=0,  # real clips would be one more pass of any step
        gradient_checkpointing=shape.needs_gpu,
    )
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(shape, settings, Path(folder), dtype)
        with recomputed(bench.module, settings=settings):
            # Memory first, for a process keeps what its largest step once took.
            memory = {name: bench.peak_mb(name) for name in bench.variants}
            seconds = bench.rotate(rotations, repeats)
            compared = ratios(seconds, settings.ratio_every)
            result = {
                "parameters": bench.parameters(),
                "attention": bench.kernels(),
                "ratio_every": settings.ratio_every,
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
            "measuring": self.measuring,
            "policy_only": self.policy_only,
            "policy_plain": self.policy_only,
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

    def kernels(self) -> dict[str, str]:
        """Say which attention kernel each variant takes."""
        is_wide = takes_wide_attention(self.device, self._settings)
        own = "the library's choice in float32" if is_wide else "the library's choice"
        return {"ours": own, "peers": "the library's choice"}

    def _context(self, name: str) -> contextlib.AbstractContextManager[Any]:
        """Return the context of a variant's forward passes, which chooses the attention kernel."""
        if name in OURS:
            return forward_pass(self.device, self._settings)
        stack = contextlib.ExitStack()
        stack.enter_context(autocast(self.device, self._settings))
        if name == "policy_plain":
            stack.enter_context(sdpa_kernel([SDPBackend.MATH]))
        return stack

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

    def measuring(self) -> Tensor:
        """Measure the gradient norms, as a step does now and then before its own pass."""
        self._alignment.prepare([self.batch])
        return torch.zeros(())

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
                    step = functools.partial(self.learn, name)
                    spent[name].append(self._timed(step, 1))
            if rotation >= 0:
                for name in names:
                    seconds[name].append(spent[name])
        return seconds

    def learn(self, name: str) -> None:
        """Compute a variant's loss and its backward pass as the training loop does."""
        with self._context(name):
            loss = self.variants[name]()
        if loss.requires_grad:
            loss.backward()
        for weight in self.adapter.values():
            weight.grad = None

    def peak_mb(self, name: str) -> float:
        """Return the GPU's peak memory, or that of a child process that takes two steps."""
        step = functools.partial(self.learn, name)
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
            self.learn("cached")
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
