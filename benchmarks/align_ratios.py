"""The ratios of an alignment step's variants, the bars to hold, and their table."""

import functools
import statistics
from collections.abc import Callable, Mapping
from typing import Any

from dualipo.evaluation.report.report_tables import Table

Seconds = dict[str, list[list[float]]]  # variant -> seconds by rotation and repeat

VISITS = (1, 2, 4, 10)
# The bars to hold: a ratio, its end over the rotations, and its side of a number.
BARS = (
    ("ours over policy_only", "median", "at most", 1.05),
    ("four_forwards over ours, set-up over 4 visits", "lowest", "at least", 1.25),
)


def ratios(seconds: Seconds, ratio_every: int) -> dict[str, dict[str, float]]:
    """Return the lowest, median and highest of the rotations' ratios, from neighbouring times."""
    ratio_of: dict[str, Callable[[dict[str, float]], float]] = {
        "cached over policy_only": lambda times: times["cached"] / times["policy_only"],
        "ours over policy_only": lambda times: times["ours"] / times["policy_only"],
        "policy_plain over policy_only": lambda times: times["policy_plain"] / times["policy_only"],
        "four_forwards over ours": lambda times: times["four_forwards"] / times["ours"],
        "two_batched over ours": lambda times: times["two_batched"] / times["ours"],
    }
    for visits in VISITS:
        ratio_of[f"four_forwards over ours, set-up over {visits} visits"] = functools.partial(
            _with_setup, visits
        )
    rotations = [
        [
            _with_ours(dict(zip(seconds, times, strict=True)), ratio_every)
            for times in zip(*rotation, strict=True)
        ]
        for rotation in zip(*seconds.values(), strict=True)
    ]
    compared = {
        name: [statistics.median(map(ratio, repeats)) for repeats in rotations]
        for name, ratio in ratio_of.items()
    }
    return {
        name: {
            "lowest": min(values),
            "median": statistics.median(values),
            "highest": max(values),
        }
        for name, values in compared.items()
    }


def _with_ours(times: dict[str, float], ratio_every: int) -> dict[str, float]:
    """Add our step: its own time, and its share of the measurement of another."""
    return times | {"ours": times["cached"] + times["measuring"] / ratio_every}


def _with_setup(visits: int, times: dict[str, float]) -> float:
    return times["four_forwards"] / (times["ours"] + times["cache_setup"] / visits)


def bars(compared: dict[str, dict[str, float]]) -> dict[str, bool]:
    """Tell for each bar whether it is held."""
    return {
        f"{ratio}: {end} {side} {bar}": (
            compared[ratio][end] <= bar if side == "at most" else compared[ratio][end] >= bar
        )
        for ratio, end, side, bar in BARS
    }


def table(results: Mapping[str, Any]) -> str:
    """Format every family's ratios, peak memory and bars, in markdown."""
    families = results["families"]
    of_all = list(families.values())
    rows = []
    for ratio in sorted(of_all[0]["ratios"], key=lambda name: (len(name), name)):  # 10 after 4
        ends = [result["ratios"][ratio] for result in of_all]
        cells = [f"{x['lowest']:.2f} / {x['median']:.2f} / {x['highest']:.2f}" for x in ends]
        rows.append([ratio, *cells])
    for whose in ("ours", "peers"):
        rows.append([f"attention, {whose}", *(result["attention"][whose] for result in of_all)])
    for variant in ("four_forwards", "cached"):
        cells = [f"{result['peak_mb'][variant]:.0f} MB" for result in of_all]
        rows.append([f"peak memory, {variant}", *cells])
    for bar in of_all[0]["bars"]:
        cells = ["held" if result["bars"][bar] else "**missed**" for result in of_all]
        rows.append([f"bar: {bar}", *cells])
    return Table(["lowest / median / highest", *families], rows).in_markdown()
