"""The peak memory of critic training, as estimated and as measured on a CPU.

    OMP_NUM_THREADS=1 python benchmarks/critic_memory.py    # writes results/critic-memory-*.json

A random critic in VILA's layout (104 million weights) learns two steps of two answers, each way in
a process of its own. Measured is how far the process's memory grew while it learned, and the bytes
of the weights that it held before. Estimated is `critic/estimate.py`, from configurations.
"""

import argparse
import ctypes
import gc
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from children import in_child
from random_models import prepare, write
from transformers import LlamaConfig, LlamaForCausalLM, SiglipVisionConfig, SiglipVisionModel

from dualipo.amounts import storage
from dualipo.config import Critic, CriticTraining, Generator
from dualipo.critic import estimate
from dualipo.critic.asks import Ask
from dualipo.critic.learning import warm_start
from dualipo.critic.models import loading
from dualipo.critic.models.projector import MmProjector
from dualipo.critic.models.vila import Vila, VilaModule
from dualipo.evaluation.report.report_tables import Table
from dualipo.rounds.run import model_folder

WIDTH, VISION = 896, 64
CLIPS = Generator(num_frames=8, height=32, width=32)
TRAINING = {"max_train_steps": 2, "train_batch_size": 2}
WAYS: dict[str, dict[str, Any]] = {
    "all weights": {},
    "all weights, checkpointed": {"gradient_checkpointing": True},
    "LoRA": {"rank": 16},
    "LoRA, checkpointed": {"rank": 16, "gradient_checkpointing": True},
    "LoRA on bfloat16": {"rank": 16, "torch_dtype": "bfloat16"},
    "LoRA on 4 bits": {"rank": 16, "load_in_4bit": True},
    "LoRA on 4 bits, checkpointed": {
        "rank": 16,
        "load_in_4bit": True,
        "gradient_checkpointing": True,
    },
}
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # of glibc's mallopt


def main() -> None:
    """Measure every way, and write the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    device = prepare()
    # Memory that is freed goes back at once, so that what is held is what is used.
    for option in (_MMAP_THRESHOLD, _TRIM_THRESHOLD):
        ctypes.CDLL("libc.so.6").mallopt(option, 1 << 16)
    with tempfile.TemporaryDirectory() as temporary:
        # What the libraries load at their first use is there before the processes divide.
        measured(WAYS["LoRA on 4 bits"], make_critic(Path(temporary) / "small", num_layers=1))
        folder = make_critic(Path(temporary) / "critic")
        results = {way: compare(way, folder) for way in WAYS}
    print(write("critic-memory", device, {"ways": results}, options.output))


def make_critic(folder: Path, *, num_layers: int = 10) -> Path:
    """Save a critic with random weights, and the tokenizer of the one that ships."""
    torch.manual_seed(0)
    tokenizer = loading.read_tokenizer(model_folder("embedded", "critic") / "llm")
    llm = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=WIDTH,
            intermediate_size=2688,
            num_hidden_layers=num_layers,
            num_attention_heads=14,
            max_position_embeddings=4096,
        )
    )
    tower = SiglipVisionModel(
        SiglipVisionConfig(
            hidden_size=VISION,
            intermediate_size=128,
            num_hidden_layers=2,
            num_attention_heads=2,
            image_size=32,
            patch_size=8,
        )
    )
    Vila(
        VilaModule(llm, tower, MmProjector(VISION, WIDTH)),
        tokenizer=tokenizer,
        settings=Critic(),
        model_max_length=4096,
    ).save(folder)
    return folder


def compare(way: str, folder: Path) -> dict[str, float]:
    """Estimate a way's peak memory, and measure it in a child process."""
    result = in_child(measured, WAYS[way], folder, start="fork")
    settings = Critic(**WAYS[way], max_new_tokens=int(result.pop("answer")))
    size = estimate.measure(folder, settings=settings, clips=CLIPS)
    assert size is not None
    parts = estimate.training_memory(size, CriticTraining(**TRAINING), paths_an_item=1)
    estimated = sum(parts.values())
    estimated_mb, measured_mb = estimated / 1e6, result["measured"] / 1e6
    print(f"{way}: {estimated_mb:.0f} MB estimated, {measured_mb:.0f} MB measured", flush=True)
    return {"estimated": estimated, **result, **parts}


def measured(way: dict[str, Any], folder: Path) -> dict[str, float]:
    """Train two steps; return the most bytes held beyond those before the critic was loaded."""
    settings = Critic(**way)
    _ = torch.randn(64, 64) @ torch.randn(64, 64)  # the library's own buffers
    critic = Vila.load(folder, settings=settings)
    for weight in critic.module.parameters():
        weight.data = weight.data.clone()  # off the file's pages, as onto a device
    critic.compress("cpu")
    critic.adapt(seed=0)
    gc.collect()
    ctypes.CDLL("libc.so.6").malloc_trim(0)
    before = _status("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # begins VmHWM anew
    weights = _held(critic.module)
    peaks: list[int] = []
    answer = "A: it rolls and stays round, B: it stops. " * 2 + "<verdict>A</verdict>"
    asks = [Ask(f"{n}", "pair", "a red ball", "motion", (f"{n}a", f"{n}b")) for n in (0, 1)]
    with tempfile.TemporaryDirectory() as temporary:
        warm_start.supervise(
            critic,
            [warm_start.Trace(ask, answer) for ask in asks],
            clips=_clip,
            settings=CriticTraining(**TRAINING),
            checkpoint_folder=Path(temporary),
            seed=0,
            on_step=lambda step, metrics: peaks.append(_status("VmHWM")),
        )
    return {"measured": weights + peaks[-1] - before, "answer": len(critic.tokens.response(answer))}


def _held(module: torch.nn.Module) -> int:
    """Return the bytes of a module's weights, with what holds them in 4 bits."""
    tensors = [*module.parameters(), *module.buffers()]
    states = [s for w in tensors if (s := getattr(w, "quant_state", None)) is not None]
    tensors += [scale for state in states for scale in (state.absmax, state.state2.absmax)]
    return sum(tensor.untyped_storage().nbytes() for tensor in tensors)


def _clip(name: str) -> np.ndarray:
    shape = (CLIPS.num_frames, CLIPS.height, CLIPS.width, 3)
    return np.random.default_rng(len(name)).integers(0, 256, shape, dtype=np.uint8)


def _status(field: str) -> int:
    """Return a field of this process's status in bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    line = next(line for line in lines if line.startswith(f"{field}:"))
    return int(line.split()[1]) * 1024


def table(results: Any) -> str:
    """Return the results as a table in Markdown."""
    rows = [
        [
            way,
            storage(estimated["estimated"]),
            storage(estimated["measured"]),
            f"{estimated['estimated'] / estimated['measured'] - 1:+.0%}",
        ]
        for way, estimated in results["ways"].items()
    ]
    return Table(["a critic learns", "estimated", "measured", "difference"], rows).in_markdown()


if __name__ == "__main__":
    main()
