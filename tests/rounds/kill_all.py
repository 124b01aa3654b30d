"""Every failpoint of the tiny runs, killed and resumed, and killed again while resuming.

`python -m tests.rounds.kill_all` takes about an hour on one core; `--every 10` a tenth of that.
With `--workers` every engine's runs are killed at 20 drawn points, and so are their workers; the
outcomes go to a table, and a repeated command makes those that are missing.
"""

import tests.conftest  # noqa: F401 - one thread, and said before torch is imported

# isort: split
import argparse
import sys
from pathlib import Path

from tests.rounds import harness as harnesses
from tests.rounds import kill_engines
from tests.rounds.harness import Harness


def main() -> int:
    """Print what differs; return the number of such points."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--every", type=int, default=1, metavar="N", help="every Nth point only")
    parser.add_argument("--workers", action="store_true", help="runs of every engine")
    parser.add_argument("--table", type=Path, default=kill_engines.TABLE, help="with --workers")
    parser.add_argument(
        "--recipes", nargs="+", default=kill_engines.RECIPES, choices=kill_engines.RECIPES
    )
    arguments = parser.parse_args()
    every = arguments.every
    with harnesses.memory_folder() as folder:
        models_folder = harnesses.make_models(folder / "models")
        if arguments.workers:
            num_bad = kill_engines.kill_all_engines(
                folder, models_folder, arguments.table, recipes=arguments.recipes
            )
            print(f"{num_bad} runs differ")
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
