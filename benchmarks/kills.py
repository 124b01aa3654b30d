"""Formats what `python -m tests.rounds.kill_all --workers` has written: runs that were killed."""

from collections.abc import Mapping
from typing import Any

from dualipo.evaluation.report.report_tables import Table

HEADS = [
    "recipe",
    "units are done by",
    "runs",
    "kills of the driver",
    "then, of its workers",
    "ledger, clips and weights",
]


def table(result: Mapping[str, Any]) -> str:
    """Format the runs of each recipe and engine, in markdown; `result` has a row for each run."""
    groups: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for row in result["rows"].values():
        groups.setdefault((row["recipe"], row["engine"]), []).append(row)
    return Table(HEADS, [_row(*group, rows) for group, rows in groups.items()]).in_markdown()


def _row(recipe: str, engine: str, rows: list[Mapping[str, Any]]) -> list[str]:
    num_kills = sum(len(row["driver_kills"]) for row in rows)
    num_deaths = sum(row["num_worker_deaths"] for row in rows)
    num_different = sum(row["differs"] != "" for row in rows)
    made = f"**{num_different} differ**" if num_different else "equal"
    return [recipe, engine, str(len(rows)), str(num_kills), str(num_deaths), made]
