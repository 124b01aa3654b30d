"""Measures how often the refresh's gate says better, no difference and worse of known critics.

    python benchmarks/refresh_gate.py --output benchmarks/results/refresh-gate.json

A simulated critic leans to the right clip by a signal plus noise. Its refreshed twin shares a part
of the noise, as a trained critic shares most of its answers with the one it began from, and differs
in accuracy by a known number of points. It is as if both orders of a label's clips always had the
same answer, which tells least. `--turned` is the share of answers in which two equally good critics
differ. The table gives, for each number of labels, the share of draws with each outcome, and the
smallest number at which a neutral refresh is reverted in at most a tenth of the draws and one that
lost four points in at least four of five.
"""

import argparse
import json
from pathlib import Path
from statistics import NormalDist
from typing import Any

import numpy as np

from dualipo.evaluation.refresh_gate import rule
from dualipo.store import atomic

ACCURACY = 0.75  # of the critic before the refresh
POINTS = (-4, -2, 0, 2, 4)
NUM_LABELS = (48, 120, 240, 480, 960, 1920)
LABELS_PER_PROMPT = 3
PROMPT_SHARE = 0.2  # of the noise's variance, which a prompt's labels share


def main() -> None:
    """Simulate, write the data, print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--draws", type=int, default=2000)
    parser.add_argument("--turned", type=float, default=0.14)
    parser.add_argument("--output", type=Path, required=True)
    arguments = parser.parse_args()
    rows = [
        outcomes(num, points, draws=arguments.draws, turned=arguments.turned)
        for num in NUM_LABELS
        for points in POINTS
    ]
    result = {"accuracy": ACCURACY, "turned": arguments.turned, "rows": rows}
    atomic.write_text(arguments.output, json.dumps(result, indent=1) + "\n")
    print(table(result))


def outcomes(num_labels: int, points: int, *, draws: int, turned: float) -> dict[str, Any]:
    """Return the shares of the gate's verdicts over `draws` simulated refreshes."""
    rng = np.random.default_rng([num_labels, points + 100])
    shared = correlation(turned)
    verdicts = [_draw(rng, num_labels, points / 100, shared) for _ in range(draws)]
    shares = {name: verdicts.count(name) / draws for name in ("better", "no difference", "worse")}
    return {"num_labels": num_labels, "points": points, **shares}


def correlation(turned: float) -> float:
    """Return the correlation of two equally accurate critics' noise that turns such a share."""
    rng = np.random.default_rng(0)
    noise_2N = rng.standard_normal((2, 200_000))
    shift = NormalDist().inv_cdf(ACCURACY)
    low, high = 0.0, 1.0
    for _ in range(30):
        middle = (low + high) / 2
        twin_N = middle * noise_2N[0] + np.sqrt(1 - middle**2) * noise_2N[1]
        differ = np.mean((noise_2N[0] + shift > 0) != (twin_N + shift > 0))
        low, high = (middle, high) if differ > turned else (low, middle)
    return low


def _draw(rng: np.random.Generator, num_labels: int, gain: float, shared: float) -> str:
    num_prompts = -(-num_labels // LABELS_PER_PROMPT)
    prompt_N = np.arange(num_labels) // LABELS_PER_PROMPT

    def noise() -> np.ndarray:
        common_N = rng.standard_normal(num_prompts)[prompt_N]
        own_N = rng.standard_normal(num_labels)
        return np.asarray(np.sqrt(PROMPT_SHARE) * common_N + np.sqrt(1 - PROMPT_SHARE) * own_N)

    first_N = noise()
    second_N = shared * first_N + np.sqrt(1 - shared**2) * noise()
    before_N = NormalDist().inv_cdf(ACCURACY) + first_N
    after_N = NormalDist().inv_cdf(ACCURACY + gain) + second_N
    prompt_ids = [str(number) for number in prompt_N]
    return rule(before_N.tolist(), after_N.tolist(), prompt_ids=prompt_ids).verdict


def table(result: dict[str, Any]) -> str:
    """Write the shares as a table in markdown, and the number of labels that is enough."""
    rows = result["rows"]
    head = [f"{points:+d} points" if points else "no change" for points in POINTS]
    lines = [f"| labels | {' | '.join(head)} |", "|---" * (len(POINTS) + 1) + "|"]
    for num in NUM_LABELS:
        by_points = {row["points"]: row for row in rows if row["num_labels"] == num}
        cells = [
            " / ".join(f"{by_points[p][name]:.0%}" for name in ("better", "no difference", "worse"))
            for p in POINTS
        ]
        lines.append(f"| {num:,} | {' | '.join(cells)} |")
    enough = [num for num in NUM_LABELS if _is_enough(num, rows)]
    least = f"{enough[0]:,}" if enough else f"more than {NUM_LABELS[-1]:,}"
    return "\n".join([*lines, "", f"Enough to tell a loss of 4 points from none: {least} labels."])


def _is_enough(num: int, rows: list[dict[str, Any]]) -> bool:
    worse = {row["points"]: row["worse"] for row in rows if row["num_labels"] == num}
    return bool(worse[0] <= 0.1 and worse[-4] >= 0.8)


if __name__ == "__main__":
    main()
