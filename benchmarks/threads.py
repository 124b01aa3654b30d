"""The worth of a second thread to the small critic that ships: seconds to score the same clips.

    OMP_WAIT_POLICY=PASSIVE python benchmarks/threads.py      # as the command line sets it
    python benchmarks/threads.py --rotations 1 --clips 4 --output out

One thread and as many as there are cores take turns. The result is the wall time of each, and their
ratio within each rotation. `critic/models/threads.py` uses one thread for small models because of
it.
"""

import argparse
import os
import statistics
import time
from pathlib import Path
from typing import Any

import torch

from dualipo.config import Critic
from dualipo.critic import judge
from dualipo.critic.asks import Item
from dualipo.critic.models import threads
from dualipo.critic.models.vila import Vila
from dualipo.rounds.run import EMBEDDED, model_folder
from dualipo.seeds import derive
from dualipo.store import atomic
from dualipo.world.corpus import web_clip


def seconds(vila: Vila, num_clips: int, *, num_threads: int) -> float:
    """Return the seconds of one pass of pointwise scores."""
    clips = {f"{n}": web_clip(n).frames_FHW3 for n in range(num_clips)}
    items = [Item(name, "a big red circle moves left", (name,)) for name in clips]
    torch.set_num_threads(num_threads)
    began = time.perf_counter()
    judge.score(
        vila,
        items,
        clips=clips.__getitem__,
        settings=vila.settings,
        seed_of=lambda *place: derive(0, *place),
    )
    return time.perf_counter() - began


def main() -> None:
    """Measure, print the result and write it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rotations", type=int, default=6)
    parser.add_argument("--clips", type=int, default=64)
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "results")
    arguments = parser.parse_args()
    threads.SMALL = 0  # or every measurement would run on one thread
    numbers = [1, len(os.sched_getaffinity(0))]
    settings = Critic(
        mixed_precision="bf16", num_score_paths=1, max_new_tokens=72, clip_memory_mb=0
    )
    vila = Vila.load(model_folder(EMBEDDED, "critic"), settings=settings)
    vila.freeze()
    times: dict[int, list[float]] = {number: [] for number in numbers}
    for rotation in range(arguments.rotations):
        for number in numbers if rotation % 2 else numbers[::-1]:
            times[number].append(seconds(vila, arguments.clips, num_threads=number))
    ratios = [many / single for single, many in zip(*times.values(), strict=True)]
    result: dict[str, Any] = {
        "num_cores": numbers[-1],
        "seconds": {f"{number} threads": values for number, values in times.items()},
        "all over one": {
            "lowest": min(ratios),
            "median": statistics.median(ratios),
            "highest": max(ratios),
        },
    }
    atomic.make_folder(arguments.output)
    atomic.write_json(arguments.output / "threads.json", result)
    print(result)


if __name__ == "__main__":
    main()
