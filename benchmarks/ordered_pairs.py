"""Accuracy of critics on pairs of a generator's clips that the oracle orders; used by benchmarks.

Each critic's hits are written to a file of their own as soon as they are measured, so that a
benchmark goes on where it stopped.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from dualipo.critic.vlm import Vlm
from dualipo.evaluation import bootstrap
from dualipo.records import DIMENSIONS
from dualipo.rounds import accuracy, world_sources
from dualipo.rounds.run import Run
from dualipo.store import atomic

BINS = ((0.1, 0.2), (0.2, 0.4), (0.4, 1.01))  # oracle gaps at which two sets of clips are compared
Rows = list[dict[str, Any]]  # a row for each pair: prompt, dimension, gap, hit


def measured(
    run: Run, path: Path, versions: Sequence[str], load: Callable[[], Vlm]
) -> dict[str, Rows]:
    """Return a critic's hits on the clips of each generator version, from its file if it is there.

    `load` is called only for what is missing.
    """
    known: dict[str, Rows] = atomic.read_json(path) if path.exists() else {}
    missing = [version for version in versions if version not in known]
    if missing:
        critic = load()
        for version in missing:
            known[version] = _hits(run, critic, version)
        atomic.write_json(path, known)
        run.forget_models()
    return {version: known[version] for version in versions}


def take_pairs(run: Run, num: int | None) -> None:
    """Measure critics of an opened run on up to `num` pairs, where it measured on fewer itself."""
    if num is not None:
        monitor = run.config.monitor.model_copy(update={"num_accuracy_pairs": num})
        run.config = run.config.model_copy(update={"monitor": monitor})


def _hits(run: Run, critic: Vlm, version: str) -> Rows:
    asked, verdicts = accuracy.oracle_ordered_pairs(run, version=version)
    hits = accuracy.forced_hits(run, critic, asked, verdicts)
    clips = [(q.prompt.caption, clip) for q in asked for clip in (q.clip_a, q.clip_b)]
    scores = iter(world_sources.oracle_scores(clips, clips=run.clip))
    rows = []
    for question, hit in zip(asked, hits, strict=True):
        of_a, of_b = next(scores), next(scores)
        gap = abs(of_a[question.dimension] - of_b[question.dimension])
        prompt, dimension = question.prompt.prompt_id, question.dimension
        rows.append({"prompt": prompt, "dimension": dimension, "gap": gap, "hit": hit})
    return rows


def share(rows: Rows) -> dict[str, Any]:
    """Return the accuracy with its 95 % interval by prompt, by dimension, and by the gap."""
    interval = bootstrap.clustered_mean(
        [row["hit"] for row in rows], clusters=[row["prompt"] for row in rows]
    )
    parts = {d: [row["hit"] for row in rows if row["dimension"] == d] for d in DIMENSIONS}
    bins = {
        f"{low} to {min(high, 1)}": [row["hit"] for row in rows if low <= row["gap"] < high]
        for low, high in BINS
    }
    return asdict(interval) | {
        "num": len(rows),
        "by_dimension": {name: _mean(hits) for name, hits in parts.items()},
        "by_gap": {name: {"num": len(hits), "mean": _mean(hits)} for name, hits in bins.items()},
    }


def change(before: Rows, after: Rows) -> dict[str, Any]:
    """Return the difference of two critics on the same pairs, with its 95 % interval by prompt."""
    gains = [b["hit"] - a["hit"] for a, b in zip(before, after, strict=True)]
    interval = bootstrap.clustered_mean(gains, clusters=[row["prompt"] for row in before])
    return asdict(interval) | {"excludes_zero": interval.excludes_zero}


def pooled(rows_by_seed: Mapping[int, Rows]) -> Rows:
    """Join the seeds' rows; prompts of two seeds are two prompts."""
    return [
        row | {"prompt": f"{seed} {row['prompt']}"}
        for seed, rows in rows_by_seed.items()
        for row in rows
    ]


def points(value: float) -> str:
    """Write a difference of shares in points of 100."""
    return f"{100 * value:+.1f}"


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None
