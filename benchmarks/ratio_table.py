"""Formats ratios of times that were measured in rotations."""

from collections.abc import Mapping
from typing import Any

from dualipo.evaluation.report.report_tables import Table


def table(result: Mapping[str, Any]) -> str:
    """Write the lowest, median and highest of each of a result's ratios, in markdown."""
    rows = [
        [name, " / ".join(f"{ends[end]:.2f}" for end in ("lowest", "median", "highest"))]
        for name, ends in result["ratios"].items()
    ]
    return Table(["ratio", "lowest / median / highest"], rows).in_markdown()
