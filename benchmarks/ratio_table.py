"""Measures times in rotations, and formats their ratios."""

import statistics
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from dualipo.evaluation.report.report_tables import Table


def rotated(
    ways: Sequence[str], seconds: Callable[[str], float], *, rotations: int
) -> dict[str, list[float]]:
    """Return each way's seconds; every rotation begins with another way, and one warms up."""
    times: dict[str, list[float]] = {way: [] for way in ways}
    for rotation in range(rotations + 1):
        for place in range(len(ways)):
            way = ways[(rotation + place) % len(ways)]
            spent = seconds(way)
            if rotation:
                times[way].append(spent)
    return times


def ends(others: Sequence[float], ours: Sequence[float]) -> dict[str, float]:
    """Return the lowest, median and highest ratio of another way's seconds over ours."""
    ratios = [other / own for other, own in zip(others, ours, strict=True)]
    return {
        "lowest": min(ratios),
        "median": statistics.median(ratios),
        "highest": max(ratios),
    }


def table(result: Mapping[str, Any]) -> str:
    """Write the lowest, median and highest of each of a result's ratios, in markdown."""
    rows = [
        [name, " / ".join(f"{ends[end]:.2f}" for end in ("lowest", "median", "highest"))]
        for name, ends in result["ratios"].items()
    ]
    return Table(["ratio", "lowest / median / highest"], rows).in_markdown()
