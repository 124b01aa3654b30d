"""What a pair costs: four forwards as peers do it, two batched forwards, one with cached errors.

    python benchmarks/align_step.py                          # Wan and CogVideoX, tiny, on a CPU
    python benchmarks/align_step.py --rotations 1 --repeats 1 --output here.json    # does it work?
    python benchmarks/align_step.py --family wan2.1-1.3b     # real shape, random weights, a GPU

Each rotation times every variant in turn, beginning with another one, so that a machine that grows
slower is unfair to none. Seconds are CPU time on a CPU (run it with OMP_NUM_THREADS=1) and
synchronised wall time on a GPU; peak memory is of a process of its own, or the GPU's. Ratios are
taken within a rotation. All variants compute the same loss with the same library kernels.
"""

import argparse
import gc
import json
import os
import resource
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from diffusers import (
    AutoencoderKLCogVideoX,
    AutoencoderKLWan,
    CogVideoXDDIMScheduler,
    CogVideoXTransformer3DModel,
    WanTransformer3DModel,
)
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from dualipo.config import Align
from dualipo.generator import cogvideox, losses, wan
from dualipo.generator.batches import PreferenceSet
from dualipo.generator.denoise import single_errors
from dualipo.generator.objectives import Dpo
from dualipo.generator.reference import ReferenceErrors, measure
from dualipo.generator.steps import Steps
from dualipo.store import atomic
from dualipo.training import lora, optim
from dualipo.training.recompute import recomputed

RESULTS = Path(__file__).parent / "results"
VISITS = (1, 2, 4, 10)

WAN_TINY: dict[str, Any] = {
    "num_attention_heads": 4,
    "attention_head_dim": 32,
    "ffn_dim": 512,
    "num_layers": 8,
    "text_dim": 64,
    "freq_dim": 64,
    "rope_max_seq_len": 64,
}
COGVIDEOX_TINY: dict[str, Any] = {
    "num_attention_heads": 4,
    "attention_head_dim": 32,
    "num_layers": 8,
    "time_embed_dim": 64,
    "text_embed_dim": 64,
    "sample_height": 16,
    "sample_width": 16,
    "sample_frames": 17,
    "use_rotary_positional_embeddings": True,
}
WAN_1_3B: dict[str, Any] = {
    "num_attention_heads": 12,
    "attention_head_dim": 128,
    "ffn_dim": 8960,
    "num_layers": 30,
    "text_dim": 4096,
    "freq_dim": 256,
}
SCHEDULER: dict[str, Any] = {
    "prediction_type": "v_prediction",
    "rescale_betas_zero_snr": True,
    "snr_shift_scale": 1.0,
}


class Shape(NamedTuple):
    """What is trained: a transformer, one clip's size, the text's, and the adapter's rank."""

    is_wan: bool
    transformer: dict[str, Any]
    clip: tuple[int, int, int]  # frames, height, width
    text_LD: tuple[int, int]
    rank: int
    needs_gpu: bool = False


FAMILIES = {
    "wan": Shape(True, WAN_TINY, (17, 128, 128), (512, 64), 16),
    "cogvideox": Shape(False, COGVIDEOX_TINY, (17, 128, 128), (226, 64), 16),
    "wan2.1-1.3b": Shape(True, WAN_1_3B, (81, 480, 832), (512, 4096), 64, needs_gpu=True),
}


def main() -> None:
    """Measure the families asked for, and write JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--family", nargs="+", choices=FAMILIES, default=["wan", "cogvideox"])
    parser.add_argument("--rotations", type=int, default=8)
    parser.add_argument("--repeats", type=int, default=4, help="pairs a variant and rotation")
    parser.add_argument("--output", type=Path)
    arguments = parser.parse_args()
    device = prepare()
    found = {
        name: measure_family(FAMILIES[name], arguments.rotations, arguments.repeats)
        for name in arguments.family
    }
    path = write("align-step", device, {"families": found}, arguments.output)
    for name, one in found.items():
        print(name, json.dumps({k: one[k] for k in ("parameters", "ratios")}, indent=2))
    print(path)


def prepare() -> str:
    """One thread; return the device's name, and say what there is without a GPU."""
    torch.set_num_threads(1)
    if torch.cuda.is_available():
        return torch.cuda.get_device_name()
    print("no GPU here: tiny shapes only, in CPU time")
    return "CPU, one thread"


def write(name: str, device: str, found: Mapping[str, Any], output: Path | None) -> Path:
    """Write what was found as JSON, by default into the results; return where."""
    slug = "-".join(device.lower().replace(",", "").split())
    path = output or RESULTS / f"{name}-{slug}.json"
    atomic.make_folder(path.parent)
    atomic.write_json(path, {"device": device, "torch": torch.__version__, **found})
    return path


def dtype_of(shape: Shape) -> torch.dtype:
    """The precision a shape is measured in; one that needs a GPU is refused without it."""
    if shape.needs_gpu and not torch.cuda.is_available():
        raise SystemExit("this shape needs a GPU; without one choose --family wan cogvideox")
    return torch.bfloat16 if shape.needs_gpu else torch.float32


def measure_family(shape: Shape, rotations: int, repeats: int) -> dict[str, Any]:
    """Seconds a pair by variant and rotation, their ratios, and the peak memory of each."""
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
            # First, for a process keeps what its largest step once took.
            memory = {name: bench.peak_mb(step) for name, step in bench.variants.items()}
            seconds = bench.rotate(rotations, repeats)
            result = {
                "parameters": bench.parameters(),
                "seconds_per_pair": seconds,
                "ratios": ratios(seconds),
                "peak_mb": memory,
            }
            if bench.device.type == "cuda":
                result["share_of_matmul_rate"] = bench.efficiency(min(seconds["cached"]))
    return result


class Bench:
    """One model with an adapter, one pair, and the variants of a step on it."""

    def __init__(self, shape: Shape, settings: Align, folder: Path, dtype: torch.dtype) -> None:
        before = _num_in_memory()
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.backbone = random_backbone(shape, folder, dtype, self.device)
        self.module: Any = self.backbone.module
        self._num_model = sum(weight.numel() for weight in self.module.parameters())
        pair = _pair(self.backbone, shape)
        self._pair_of_reference = (pair, settings)
        errors: ReferenceErrors = measure(
            self.backbone, preferences=pair, settings=settings, seed=0
        )
        self.adapter = lora.attach(
            self.module, targets=self.backbone.lora_targets, settings=settings, seed=0
        )
        self.module.train()
        self._num_here = _num_in_memory() - before
        self.batch = Steps(self.backbone, pair, None, errors, settings, 0).batch(0)
        self._objective = Dpo(self.backbone, settings)
        self._beta = settings.beta_dpo
        self.variants: dict[str, Callable[[], None]] = {
            "four_forwards": self.four_forwards,
            "two_batched": self.two_batched,
            "cached": self.cached,
            "policy_only": self.policy_only,
            "cache_setup": self.cache_setup,
        }

    def parameters(self) -> dict[str, int]:
        """Of the model, of the adapter, and all that are in memory: no second copy."""
        num_adapter = sum(weight.numel() for weight in self.adapter.values())
        assert self._num_here == self._num_model + num_adapter, "a second copy of the weights"
        return {"model": self._num_model, "adapter": num_adapter, "in_memory": self._num_here}

    def four_forwards(self) -> None:
        """Winner and loser one by one, with the adapter and, without a graph, without it."""
        policy = {side: self._errors(side) for side in self.batch["latents"]}
        self.module.disable_adapters()
        with torch.no_grad():
            reference = {side: self._errors(side) for side in self.batch["latents"]}
        self.module.enable_adapters()
        self._dpo(policy, reference)

    def two_batched(self) -> None:
        """Winner and loser in one pass, with the adapter and without it."""
        policy = self._both()
        self.module.disable_adapters()
        with torch.no_grad():
            reference = self._both()
        self.module.enable_adapters()
        self._dpo(policy, reference)

    def cached(self) -> None:
        """This project's own step: one pass, the reference's errors are there."""
        self._objective.terms(self.batch, None).preference.backward()

    def policy_only(self) -> None:
        """The least that any step does: one pass over both clips, and its backward pass."""
        sum(self._both().values()).mean().backward()  # type: ignore[union-attr]

    @torch.no_grad()
    def cache_setup(self) -> None:
        """What a slot's entry in the cache costs, once."""
        self._both()

    def rotate(self, rotations: int, repeats: int) -> dict[str, list[float]]:
        """Seconds a pair of every variant in each rotation."""
        names = list(self.variants)
        seconds: dict[str, list[float]] = {name: [] for name in names}
        for rotation in range(rotations):
            first = rotation % len(names)
            order = names[first:] + names[:first]
            spent = dict.fromkeys(order, 0.0)
            for repeat in range(repeats + 1):
                for name in order:
                    taken = self._timed(self.variants[name], 1)
                    spent[name] += taken if repeat else 0.0  # the first of each is a warm-up
            for name in names:
                seconds[name].append(spent[name] / repeats)
        return seconds

    def peak_mb(self, step: Callable[[], None]) -> float:
        """The GPU's peak, or that of a child process that takes two steps."""
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
        with os.fdopen(reader) as said:
            return float(said.read())

    def efficiency(self, seconds: float) -> dict[str, float]:
        """The cached step's arithmetic over its time, against a large matrix product's rate."""
        with FlopCounterMode(display=False) as counter:
            self.cached()
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

    def _dpo(self, policy: dict[str, Tensor], reference: dict[str, Tensor]) -> None:
        loss_B, _ = losses.dpo_loss(
            policy["winners"],
            policy_l=policy["losers"],
            reference_w=reference["winners"],
            reference_l=reference["losers"],
            beta=self._beta,
        )
        loss_B.mean().backward()

    def _timed(self, step: Callable[[], Any], repeats: int) -> float:
        on_gpu = self.device.type == "cuda"
        clock = time.perf_counter if on_gpu else time.process_time
        if on_gpu:
            torch.cuda.synchronize()
        start = clock()
        for _ in range(repeats):
            step()
            for weight in optim.trainable(self.module).values():
                weight.grad = None
        if on_gpu:
            torch.cuda.synchronize()
        return clock() - start


def ratios(seconds: dict[str, list[float]]) -> dict[str, dict[str, float]]:
    """Within each rotation: lowest, median and highest over the rotations."""
    rotations = [
        dict(zip(seconds, row, strict=True)) for row in zip(*seconds.values(), strict=True)
    ]
    compared = {
        "cached over policy_only": [one["cached"] / one["policy_only"] for one in rotations],
        "four_forwards over cached": [one["four_forwards"] / one["cached"] for one in rotations],
        "two_batched over cached": [one["two_batched"] / one["cached"] for one in rotations],
    }
    for visits in VISITS:
        compared[f"four_forwards over cached, set-up over {visits} visits"] = [
            one["four_forwards"] / (one["cached"] + one["cache_setup"] / visits)
            for one in rotations
        ]
    return {
        name: {
            "lowest": min(values),
            "median": statistics.median(values),
            "highest": max(values),
        }
        for name, values in compared.items()
    }


def random_backbone(shape: Shape, folder: Path, dtype: torch.dtype, device: torch.device) -> Any:
    """A backbone with random weights; of its folder only the autoencoder's settings are read."""
    torch.manual_seed(0)
    transformer = WanTransformer3DModel if shape.is_wan else CogVideoXTransformer3DModel
    module = transformer(**shape.transformer).to(device, dtype)
    with torch.device("meta"):
        vae = AutoencoderKLWan() if shape.is_wan else AutoencoderKLCogVideoX()
    (folder / "vae").mkdir()
    (folder / "vae" / "config.json").write_text(json.dumps(dict(vae.config), default=list))
    family = wan.Wan if shape.is_wan else cogvideox.CogVideoX
    made: Any = family(folder, module=module, max_sequence_length=shape.text_LD[0], dtype=dtype)
    if not shape.is_wan:
        made._scheduler = CogVideoXDDIMScheduler(**SCHEDULER)  # else read from the folder
    return made


def _pair(backbone: Any, shape: Shape) -> PreferenceSet:
    num_frames, height, width = shape.clip
    sizes = backbone.latent_shape(num_frames=num_frames, height=height, width=width)
    winner, loser = torch.randn(2, 1, *sizes)
    return PreferenceSet(["pair"], ["x"], winner, loser, {"x": torch.randn(shape.text_LD)})


def _num_in_memory() -> int:
    gc.collect()
    found = {id(thing): thing for thing in gc.get_objects() if isinstance(thing, nn.Parameter)}
    return sum(weight.numel() for weight in found.values() if weight.device.type != "meta")


if __name__ == "__main__":
    main()
