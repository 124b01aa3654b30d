"""Every failpoint of the tiny runs, killed and resumed, and killed again while resuming.

`python -m tests.rounds.kill_all` takes about an hour on one core; `--every 10` a tenth of that.
With `--workers` two processes do the units: 20 drawn points, and workers are killed all along.
"""

import tests.conftest  # noqa: F401 - one thread, and said before torch is imported

# isort: split
import argparse
import os
import random
import sys
from dataclasses import replace

from tests.rounds import harness as harnesses
from tests.rounds.harness import Harness
from tests.rounds.test_spread import PROCESSES


def main() -> int:
    """Print what differs; return the number of such points."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--every", type=int, default=1, metavar="N", help="every Nth point only")
    parser.add_argument("--workers", action="store_true", help="two processes, some killed")
    arguments = parser.parse_args()
    every = arguments.every
    with harnesses.memory_folder() as folder:
        models_folder = harnesses.make_models(folder / "models")
        if arguments.workers:
            harness = harnesses.prepare(models_folder, folder / "refreshed", wanted="refreshed")
            num_bad = try_workers(harness)
            print(f"{num_bad} points differ")
            return num_bad
        wanted = {"refreshed": (), "reverted": harnesses.REVERTED}
        num_bad = sum(
            try_all(
                harnesses.prepare(models_folder, folder / name, *overrides, wanted=name),
                every=every,
            )
            for name, overrides in wanted.items()
        )
    print(f"{num_bad} points differ")
    return min(num_bad, 100)


def try_all(harness: Harness, *, every: int) -> int:
    """Kill at each point, once alone and once with a second kill; return how many differ."""
    num_bad = 0
    for hit in range(1, len(harness.names) + 1, every):
        for hits in ((hit,), (hit, 1 + hit % 5)):
            differs = fault(harness, hits)
            num_bad += differs is not None
            name = harness.names[hit - 1]
            print(f"{hits} of {len(harness.names)}  {name}  {differs or 'equal'}", flush=True)
    return num_bad


def try_workers(harness: Harness, *, num: int = 20) -> int:
    """Kill the driver at drawn points while workers die too; return how many differ."""
    draw, num_bad = random.Random(0), 0
    by_two = replace(harness, overrides=(*harness.overrides, *PROCESSES))
    for _ in range(num):
        # The driver passes fewer points than a run by itself: its workers publish the files.
        hit, worker_hit = draw.randint(1, len(harness.names) // 3), draw.randint(45, 120)
        os.environ["DUALIPO_FAIL"] = f"kill@{worker_hit}"
        differs = fault(by_two, (hit,))
        num_bad += differs is not None
        print(f"driver {hit}, workers {worker_hit}: {differs or 'equal'}", flush=True)
    return num_bad


def fault(harness: Harness, hits: tuple[int, ...]) -> str | None:
    """Return what is wrong after these kills, or None."""
    try:
        resumed, clean = harness.killed_at(*hits), harness.clean
    except AssertionError as broken:
        return f"FAILED: {broken}"
    different = sorted(
        name for name in resumed.keys() | clean.keys() if resumed.get(name) != clean.get(name)
    )
    return f"DIFFERS: {', '.join(different)}" if different else None


if __name__ == "__main__":
    sys.exit(main())
