"""Prints seconds and peak memory of every stage of a run, one line a stage.

    python benchmarks/round.py recipes/smoke.toml [key=value ...]   # runs it first, in a new folder
    python benchmarks/round.py --run runs/quick                     # reads a run that exists

The seconds are those of the work alone; a stage's peak is the process' peak until the stage's end.
"""

import argparse
import tempfile
from collections import defaultdict
from pathlib import Path

from dualipo import config, open_run
from dualipo.events import ClockEvent
from dualipo.progress import PlainProgress


def table(run_path: Path) -> str:
    """Return a text table with a line for each stage: units, seconds, peak MB."""
    seconds: dict[str, float] = defaultdict(float)
    peak: dict[str, float] = defaultdict(float)
    units: dict[str, int] = defaultdict(int)
    for _, clock in open_run(run_path).events(ClockEvent):
        seconds[clock.stage] += clock.seconds
        peak[clock.stage] = max(peak[clock.stage], clock.peak_mb)
        units[clock.stage] += 1
    lines = [f"{'stage':<24}{'units':>7}{'seconds':>10}{'peak MB':>10}"]
    lines += [
        f"{stage:<24}{units[stage]:>7}{seconds[stage]:>10.1f}{peak[stage]:>10.0f}"
        for stage in sorted(seconds, key=seconds.__getitem__, reverse=True)
    ]
    return "\n".join([*lines, f"{'all':<24}{'':>7}{sum(seconds.values()):>10.1f}"])


def main() -> None:
    """Read or make a run, and print its table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("recipe", type=Path, nargs="?")
    parser.add_argument("overrides", nargs="*")
    parser.add_argument("--run", type=Path)
    arguments = parser.parse_args()
    if arguments.run:
        print(table(arguments.run))
        return
    if arguments.recipe is None:
        parser.error("give a recipe to run, or --run FOLDER")
    from dualipo.rounds import loop

    with tempfile.TemporaryDirectory() as folder:
        overrides = [*arguments.overrides, f"output_dir={folder}/run"]
        loaded = config.load(arguments.recipe, overrides)
        print(table(loop.run(loaded, progress=PlainProgress())))


if __name__ == "__main__":
    main()
