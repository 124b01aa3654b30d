"""Accuracy of critics on pairs of a generator's clips that the oracle orders; used by benchmarks.

Each critic's hits are written to a file of their own as soon as they are measured, so that a
benchmark goes on where it stopped. A hit is by forced choice, of which `EACH_ORDER` reads the two
orders of the clips by themselves; or it is the share of right answers among the sampled ones that a
round counts as votes.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from dualipo.critic import judge, voting
from dualipo.critic.trust import forced_choice
from dualipo.critic.vlm import Vlm
from dualipo.evaluation import bootstrap, refresh_gate
from dualipo.records import DIMENSIONS, Verdict
from dualipo.rounds import accuracy, asking, judging, world_sources
from dualipo.rounds.questions import PairQuestion
from dualipo.rounds.run import Run
from dualipo.store import atomic

BINS = ((0.1, 0.2), (0.2, 0.4), (0.4, 1.01))  # oracle gaps at which two sets of clips are compared
FIRST = {"ab": "a", "ba": "b"}  # the item's own name of the clip that is shown first, by order
BY_VOTES = "{} by votes"  # the name of a version's rows by sampled answers
HIT, EACH_ORDER = "hit", "hit in each order"  # what a row by forced choice holds
Rows = list[dict[str, Any]]  # a row for each pair: prompt, dimension, gap, hit
Hits = Callable[[Run, Vlm, Sequence[PairQuestion], Sequence[Verdict]], list[dict[str, Any]]]


def measured(
    run: Run,
    path: Path,
    versions: Sequence[str],
    load: Callable[[], Vlm],
    *,
    voted: Sequence[str] = (),
) -> dict[str, Rows]:
    """Return a critic's hits on the clips of each generator version, from its file if it is there.

    The versions `voted` are measured by votes too, which take far longer; their hits stand under
    `BY_VOTES`. `load` is called only for what is missing.
    """
    known: dict[str, Rows] = atomic.read_json(path) if path.exists() else {}
    wanted: dict[str, tuple[str, Hits]] = {version: (version, _forced) for version in versions}
    wanted |= {BY_VOTES.format(version): (version, _voted) for version in voted}
    missing = {name: how for name, how in wanted.items() if name not in known}
    if missing:
        critic = load()
        for name, (version, hits) in missing.items():
            known[name] = _rows(run, critic, version, hits)
        atomic.write_json(path, known)
        run.forget_models()
    return {name: known[name] for name in wanted}


def take_pairs(run: Run, num: int | None) -> None:
    """Measure critics of an opened run on up to `num` pairs, where it measured on fewer itself."""
    if num is not None:
        monitor = run.config.monitor.model_copy(update={"num_accuracy_pairs": num})
        run.config = run.config.model_copy(update={"monitor": monitor})


def _rows(run: Run, critic: Vlm, version: str, hits: Hits) -> Rows:
    asked, verdicts = accuracy.oracle_ordered_pairs(run, version=version)
    clips = [(q.prompt.caption, clip) for q in asked for clip in (q.clip_a, q.clip_b)]
    scores = iter(world_sources.oracle_scores(clips, clips=run.clip))
    rows = []
    for question, own in zip(asked, hits(run, critic, asked, verdicts), strict=True):
        of_a, of_b = next(scores), next(scores)
        gap = abs(of_a[question.dimension] - of_b[question.dimension])
        place = {"prompt": question.prompt.prompt_id, "dimension": question.dimension}
        rows.append({**place, "gap": gap, **own})
    return rows


def _forced(
    run: Run, critic: Vlm, asked: Sequence[PairQuestion], verdicts: Sequence[Verdict]
) -> list[dict[str, Any]]:
    items = accuracy.items_of(asked)
    margins = asking.answers(run, forced_choice.margins_by_order, critic, items)
    rows = []
    for item, verdict in zip(items, verdicts, strict=True):
        sign = 1 if verdict == "a" else -1
        answered = margins.get((item.item_id, item.dimensions[0]), ())
        leans = [sign * margin for margin in answered] or [-1.0]  # no answer is a wrong one
        both, each = refresh_gate.accuracy([sum(leans)]), refresh_gate.accuracy(leans)
        rows.append({HIT: both, EACH_ORDER: each})
    return rows


def _voted(
    run: Run, critic: Vlm, asked: Sequence[PairQuestion], verdicts: Sequence[Verdict]
) -> list[dict[str, Any]]:
    """Sample the recipe's votes; a tie or an abstention is no right answer."""
    items = accuracy.items_of(asked)
    settings = run.config.critic.model_copy(update={"early_stop": False})
    seed_of = judging.seed_of(run, "ordered pairs")
    votes = judge.confirm(critic, items, clips=run.clip, settings=settings, seed_of=seed_of)
    by_item = {place[0]: group for place, group in voting.grouped(votes).items()}
    rows = []
    for item, verdict in zip(items, verdicts, strict=True):
        own, counted = by_item[item.item_id], voting.tally(by_item[item.item_id])
        rows.append(
            {
                HIT: sum(vote.outcome == verdict for vote in own) / len(own),
                "share": counted.share,
                "is_right": counted.majority == verdict,
                "is_tie": counted.majority == "tie",
                "num_for_first": sum(vote.outcome == FIRST[vote.order] for vote in own),
                "num_for_second": sum(vote.outcome == FIRST[vote.order[::-1]] for vote in own),
            }
        )
    return rows


def leaning(rows: Rows) -> float | None:
    """Return the share of answers for the clip that is shown first, of those for one of the two."""
    first, second = (sum(row[f"num_for_{place}"] for row in rows) for place in ("first", "second"))
    return first / (first + second) if first + second else None


def kept(rows: Rows, least_share: float) -> dict[str, Any]:
    """Return how many verdicts have this share of their votes, and how many of those are right."""
    sure = [row for row in rows if row["share"] >= least_share and not row["is_tie"]]
    interval = bootstrap.clustered_mean(
        [float(row["is_right"]) for row in sure], clusters=[row["prompt"] for row in sure]
    )
    return {"num": len(sure), "of": len(rows), "precision": asdict(interval)}


def share(rows: Rows) -> dict[str, Any]:
    """Return the accuracy with its 95 % interval by prompt, by dimension, and by the gap."""
    interval = bootstrap.clustered_mean(
        [row[HIT] for row in rows], clusters=[row["prompt"] for row in rows]
    )
    parts = {d: [row[HIT] for row in rows if row["dimension"] == d] for d in DIMENSIONS}
    bins = {
        f"{low} to {min(high, 1)}": [row[HIT] for row in rows if low <= row["gap"] < high]
        for low, high in BINS
    }
    return asdict(interval) | {
        "num": len(rows),
        "by_dimension": {name: _mean(hits) for name, hits in parts.items()},
        "by_gap": {name: {"num": len(hits), "mean": _mean(hits)} for name, hits in bins.items()},
    }


def change(before: Rows, after: Rows, of: str = HIT) -> dict[str, Any]:
    """Return the difference of two critics on the same pairs, with its 95 % interval by prompt."""
    gains = [b[of] - a[of] for a, b in zip(before, after, strict=True)]
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
