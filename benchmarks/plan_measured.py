"""Compares `dualipo plan --measured` with the truth: from 24 prompts to a run of 96.

    python benchmarks/plan_measured.py --folder runs/plan               # resumes where it stopped

The small run is projected to the recipe of the large one, which is then run as well. Both are
`recipes/smoke.toml` with as many alignment steps a prompt, and without what does not grow with
prompts. Clocks are those of the processor, so that a busy machine does not matter.
"""

import argparse
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from children import in_child

from dualipo import config
from dualipo.config import Config
from dualipo.evaluation import costs
from dualipo.evaluation.report.charts import percent
from dualipo.evaluation.report.report_tables import Table
from dualipo.progress import PlainProgress
from dualipo.rounds import clock, loop, projecting
from dualipo.store import atomic
from dualipo.workers import worker

ROOT = Path(__file__).resolve().parent.parent
RESULT = ROOT / "benchmarks" / "results" / "plan-measured.json"
PROMPTS_A_STEP = 4
MAX_ERROR = 0.15
CHANGES = {
    "generator.num_candidates": 2,
    "critic.num_score_paths": 1,
    "critic.num_votes": 2,
    "monitor.num_accuracy_pairs": 0,
    "monitor.num_audit_labels": 0,
    "critic.check.num_pairs": 0,
    "refresh.update_critic": "false",
}


class ProcessorTime:
    """The module `time`, whose monotonic clock is the processor's."""

    monotonic = staticmethod(time.process_time)

    def __getattr__(self, name: str) -> Any:
        return getattr(time, name)


def settings(folder: Path, num_prompts: int) -> Config:
    """Return the recipe of one size."""
    changes = CHANGES | {
        "output_dir": folder / str(num_prompts),
        "prompts.num_prompts": num_prompts,
        "align.max_train_steps": max(1, num_prompts // PROMPTS_A_STEP),
    }
    own = [f"{name}={value}" for name, value in changes.items()]
    return config.load(ROOT / "recipes" / "smoke.toml", own)


def run(folder: Path, num_prompts: int) -> None:
    """Run the recipe of one size to its end, clocked by the processor."""
    worker.time = clock.time = ProcessorTime()  # type: ignore[attr-defined, assignment]
    loop.run(settings(folder, num_prompts), progress=PlainProgress())


def compare(folder: Path, small: int, large: int) -> dict[str, Any]:
    """Return the seconds by stage that were projected, and those that the large run took."""
    projection = projecting.project(settings(folder, large), folder / str(small))
    truth: dict[str, float] = {}
    for spent in costs.read(folder / str(large)).spent:
        truth[spent.stage] = truth.get(spent.stage, 0.0) + spent.seconds
    projected = dict(projection.projected)
    if projecting.ALIGN not in projected:
        raise SystemExit(
            f"{folder / str(small)}: it kept no preference, so nothing was aligned. Name another "
            "--folder and more --prompts."
        )
    projected[projecting.ALIGN] += projected.pop(projecting.REFERENCE)
    total, taken = sum(projected.values()), sum(truth.values())
    return {
        "prompts": [small, large],
        "measured": dict(projection.measured),
        "projected": projected,
        "truth": truth,
        "error": total / taken - 1,
        "held": abs(total / taken - 1) <= MAX_ERROR,
    }


def table(result: Mapping[str, Any]) -> str:
    """Format the stages that take longest, and the whole, in markdown."""
    small, large = result["prompts"]
    truth, projected = result["truth"], result["projected"]
    longest = sorted(truth, key=lambda stage: -truth[stage])[:6]
    rows = [
        [stage, f"{projected.get(stage, 0.0):.3g} s", f"{truth[stage]:.3g} s"] for stage in longest
    ]
    rows.append(["all", f"{sum(projected.values()):.3g} s", f"{sum(truth.values()):.3g} s"])
    error = f"{percent(result['error'])} ({'held' if result['held'] else '**missed**'})"
    rows.append([f"error, at most {percent(MAX_ERROR)}", error, ""])
    heads = ["stage", f"projected from {small} prompts", f"taken with {large}"]
    return Table(heads, rows).in_markdown()


def main() -> None:
    """Make both runs, compare, and write JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--prompts", type=int, nargs=2, default=[24, 96])
    parser.add_argument("--output", type=Path, default=RESULT)
    arguments = parser.parse_args()
    for num in arguments.prompts:
        in_child(run, arguments.folder, num, start="spawn")
    result = compare(arguments.folder, *arguments.prompts)
    print(table(result))
    atomic.write_json(arguments.output, result)


if __name__ == "__main__":
    main()
