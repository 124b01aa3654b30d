"""The peak memory of critic training, as it is estimated and as it is measured on a CPU.

    OMP_NUM_THREADS=1 python benchmarks/critic_memory.py        # writes results/critic-memory-*.json

A random critic in VILA's layout (77 million weights) learns two steps of two answers, each way in
a process of its own. Measured is the most memory that the process held while it learned, without
what it held before the critic was loaded. Estimated is `critic/estimate.py`, from configurations.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from random_models import prepare, write
from transformers import LlamaConfig, LlamaForCausalLM, SiglipVisionConfig, SiglipVisionModel

from dualipo.config import Critic, CriticTraining, Generator
from dualipo.critic import estimate
from dualipo.critic.asks import Ask
from dualipo.critic.learning import warm_start
from dualipo.critic.models import loading
from dualipo.critic.models.projector import MmProjector
from dualipo.critic.models.vila import Vila, VilaModule
from dualipo.rounds.run import model_folder

WIDTH, VISION = 768, 64
CLIPS = Generator(num_frames=16, height=32, width=32)
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
# Memory that is freed goes back at once, so that what is held is what is used.
ENVIRONMENT = {"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "65536"}


def main() -> None:
    """Measure every way, and write the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path)
    parser.add_argument("--one", nargs=2, metavar=("WAY", "FOLDER"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    device = prepare()
    if options.one:
        print(json.dumps(measured(WAYS[options.one[0]], Path(options.one[1]))))
        return
    with tempfile.TemporaryDirectory() as temporary:
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
            intermediate_size=2304,
            num_hidden_layers=num_layers,
            num_attention_heads=12,
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
    child = subprocess.run(
        [sys.executable, __file__, "--one", way, str(folder)],
        env=os.environ | ENVIRONMENT,
        capture_output=True,
        text=True,
        check=True,
    )
    result: dict[str, float] = json.loads(child.stdout.splitlines()[-1])
    settings = Critic(**WAYS[way], max_new_tokens=int(result.pop("answer")))
    size = estimate.measure(folder, settings=settings, clips=CLIPS)
    assert size is not None
    parts = estimate.training_memory(
        size, CriticTraining(**TRAINING), paths_an_item=1, is_fused=False
    )
    told = sum(parts.values())
    print(f"{way}: {told / 1e6:.0f} MB estimated, {result['measured'] / 1e6:.0f} MB measured")
    return {"estimated": told, **result, **parts}


def measured(way: dict[str, Any], folder: Path) -> dict[str, float]:
    """Train two steps; return the most bytes held beyond those before the critic was loaded."""
    settings = Critic(**way)
    _ = torch.randn(64, 64) @ torch.randn(64, 64)  # the library's own buffers
    before = _status("VmRSS")
    critic = Vila.load(folder, settings=settings)
    critic.compress("cpu")
    critic.adapt(seed=0)
    Path("/proc/self/clear_refs").write_text("5")  # begins VmHWM anew
    peaks: list[int] = []
    answer = "A: it rolls and stays round, B: it stops. " * 4 + "<verdict>A</verdict>"
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
    return {"measured": peaks[-1] - before, "answer": len(critic.tokens.response(answer))}


def _clip(name: str) -> np.ndarray:
    shape = (CLIPS.num_frames, CLIPS.height, CLIPS.width, 3)
    return np.random.default_rng(len(name)).integers(0, 256, shape, dtype=np.uint8)


def _status(field: str) -> int:
    """Return a field of this process's status in bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    line = next(line for line in lines if line.startswith(f"{field}:"))
    return int(line.split()[1]) * 1024


if __name__ == "__main__":
    main()
