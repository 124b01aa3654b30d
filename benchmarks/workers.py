"""What handing units to workers costs, and how far two of them are twice as quick.

    python -m benchmarks.workers                                    # units of 5 s, on two cores
    python -m benchmarks.workers --seconds 0.2 --units 4 --rotations 1 --output here.json  # works?

A unit is a fixed number of matrix products on one thread. `overhead` is the time of one worker
over that of the same units in this process; `scaling` is one worker's over two workers', and
`ideal` is what two bare processes, without an engine, reach on this machine at the same time. Each
rotation takes every way in turn, beginning with another one, after the workers have started. Run it
from the folder above `benchmarks` on a machine that has nothing else to do.
"""

import argparse
import multiprocessing
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from benchmarks import busy
from dualipo.store import atomic
from dualipo.workers.dispatch import CrewEngine
from dualipo.workers.inline import InlineEngine
from dualipo.workers.job import Engine, Job, Work
from dualipo.workers.processes import ProcessCrew
from dualipo.workers.roster import Roster
from dualipo.workers.worker import Token


def engine(folder: Path, num: int) -> CrewEngine:
    """Return an engine of `num` processes."""
    atomic.make_folder(folder)
    token = Token(folder / "token", b"benchmark")
    token.path.write_bytes(token.content)
    return CrewEngine(
        lambda: ProcessCrew([{}] * num, token=token, log_folder=folder),
        unit_timeout=3600,
        max_failures=1,
        roster=Roster(folder),
    )


def seconds_of(chosen: Engine, times: int, num: int) -> float:
    """Return the wall time of `num` units."""
    works = [Work(f"unit {n}", (f"{n}",), times) for n in range(num)]
    start = time.perf_counter()
    assert len(list(chosen.run(Job(busy.open_nothing, 1, busy.multiply), works))) == num
    return time.perf_counter() - start


def bare(times: int, num: int) -> float:
    """Return the wall time of `num` units in two processes that each do a half on their own."""
    context = multiprocessing.get_context("spawn")
    halves = [num - num // 2, num // 2]
    started = [context.Process(target=_half, args=(times, half)) for half in halves]
    gate = time.perf_counter()
    for process in started:
        process.start()
    for process in started:
        process.join()
    return time.perf_counter() - gate


def _half(times: int, num: int) -> None:
    matrix = busy.open_nothing(1)
    for _ in range(num):
        busy.multiply(matrix, times)


def measure(seconds: float, num: int, rotations: int, folder: Path) -> dict[str, Any]:
    """Measure every way in each rotation; return the times and their ratios."""
    torch.set_num_threads(1)
    times = busy.times_in(seconds)
    one, two = engine(folder / "one", 1), engine(folder / "two", 2)
    ways: dict[str, Callable[[int], float]] = {
        "inline": lambda n: seconds_of(InlineEngine(busy.open_nothing(1)), times, n),
        "one process": lambda n: seconds_of(one, times, n),
        "two processes": lambda n: seconds_of(two, times, n),
        "two bare processes": lambda n: bare(times, n) - bare(1, 2),  # less what starting takes
    }
    for started in (one, two):
        seconds_of(started, 1, 8)  # start the workers
    spent: dict[str, list[float]] = {name: [] for name in ways}
    for rotation in range(rotations):
        first = rotation % len(ways)
        for name in [*ways][first:] + [*ways][:first]:
            spent[name].append(ways[name](num))
    one.close()
    two.close()
    return {"seconds": spent, "ratios": ratios(spent)}


def ratios(spent: dict[str, list[float]]) -> dict[str, dict[str, float]]:
    """Return the lowest, median and highest ratio over the rotations."""
    wanted = {
        "overhead": ("one process", "inline"),
        "scaling": ("one process", "two processes"),
        "ideal": ("inline", "two bare processes"),
    }
    compared = {}
    for name, (over, under) in wanted.items():
        values = [a / b for a, b in zip(spent[over], spent[under], strict=True)]
        compared[name] = {
            "lowest": min(values),
            "median": statistics.median(values),
            "highest": max(values),
        }
    return compared


def main() -> None:
    """Measure, print the ratios, and write JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=5.0, help="about a unit's length")
    parser.add_argument("--units", type=int, default=8)
    parser.add_argument("--rotations", type=int, default=4)
    parser.add_argument("--output", type=Path, default=Path("benchmarks/results/workers.json"))
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        results = measure(
            arguments.seconds, arguments.units, arguments.rotations, Path(folder).absolute()
        )
    asked = {"unit_seconds": arguments.seconds, "units": arguments.units}
    atomic.write_json(arguments.output, {**asked, **results})
    for name, values in results["ratios"].items():
        print(f"{name:<10}" + "  ".join(f"{end} {value:.3f}" for end, value in values.items()))


if __name__ == "__main__":
    main()
