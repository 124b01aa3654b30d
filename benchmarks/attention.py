"""What attention in float32 is worth to a training in bfloat16 on a CPU (`training/precision.py`).

    OMP_NUM_THREADS=1 python benchmarks/attention.py --output benchmarks/results

The embedded critic reads answers about two clips forwards and backwards, as its warm start does.
Only how attention is computed differs:

- `ours`: the library's choice in float32;
- `library`: the library's choice in bfloat16;
- `plain`: plain matrix products in bfloat16.

Seconds are CPU time. Every rotation begins with another way; claim no more than the lowest ratio.
"""

import argparse
import contextlib
import time
from pathlib import Path
from typing import Any

import ratio_table
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

from dualipo.config import Critic, CriticTraining
from dualipo.critic.models.vila import Vila
from dualipo.critic.vlm import Query
from dualipo.rounds.run import EMBEDDED, model_folder
from dualipo.store import atomic
from dualipo.training.precision import autocast, forward_pass
from dualipo.world.corpus import caption, web_clip

ANSWER = "A: a big red circle moves left.\nB: a small green square on black.\n<verdict>A</verdict>"
WAYS = ("ours", "library", "plain")
SETTINGS = CriticTraining(max_train_steps=1, mixed_precision="bf16")


def seconds(vila: Vila, queries: list[Query], way: str) -> float:
    """Return the CPU seconds of one pass forwards and backwards."""
    with contextlib.ExitStack() as stack:
        if way == "plain":
            stack.enter_context(sdpa_kernel([SDPBackend.MATH]))
        began = time.process_time()
        with (forward_pass if way == "ours" else autocast)("cpu", SETTINGS):
            sums_B, _ = vila.log_probs(queries, [ANSWER] * len(queries))
        sums_B.sum().backward()
    return time.process_time() - began


def main() -> None:
    """Measure, print the table and write the data."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rotations", type=int, default=9)
    parser.add_argument("--questions", type=int, default=16)
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "results")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    vila = Vila.load(model_folder(EMBEDDED, "critic"), settings=Critic())
    clips = [web_clip(n).frames_FHW3 for n in range(2 * arguments.questions)]
    queries = [
        Query("pair", caption(n), "motion", (first, second), (f"{n}a", f"{n}b"))
        for n, (first, second) in enumerate(zip(clips[::2], clips[1::2], strict=True))
    ]
    times = ratio_table.rotated(
        WAYS, lambda way: seconds(vila, queries, way), rotations=arguments.rotations
    )
    result: dict[str, Any] = {"seconds": times, "ratios": {}}
    for way in WAYS[1:]:
        result["ratios"][f"{way} over ours"] = ratio_table.ends(times[way], times["ours"])
    atomic.make_folder(arguments.output)
    atomic.write_json(arguments.output / "attention-cpu-one-thread.json", result)
    print(ratio_table.table(result))


if __name__ == "__main__":
    main()
