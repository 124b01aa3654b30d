"""The warm start: reasoning traces of the human seed, fine-tuning, then DPO on the critic's own
paths (METHOD.md 3.3).

A trace's evidence is the human's reason and its verdict the human's label, by construction;
`rewriting` may word the reason anew. Labels of the dimension "overall" make no trace, as the critic
is asked about one dimension at a time.
"""

import itertools
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from torch import Tensor

from dualipo.config import Critic, CriticTraining, SeedLabels
from dualipo.critic import reasoning
from dualipo.critic.asks import Ask, Clips, SeedOf, load_queries
from dualipo.critic.learning import losses
from dualipo.critic.learning.batches import shuffled
from dualipo.critic.learning.preference import PathPair
from dualipo.critic.vlm import ReasoningPath, TrainableVlm, Vlm
from dualipo.errors import DataError
from dualipo.records import DIMENSIONS, Pair, Point
from dualipo.training import loop
from dualipo.training.memory import batched

Label = TypeVar("Label", bound=Pair | Point)


@dataclass(frozen=True)
class Trace:
    """A question and the answer that a human's label and reasons make."""

    ask: Ask
    response: str


def require_enough(pairs: Sequence[Pair], points: Sequence[Point], *, settings: SeedLabels) -> None:
    """Refuse a seed that is too small or one-sided in a dimension (fault 67)."""
    counts: Counter[tuple[str, str]] = Counter((p.dimension, p.verdict) for p in pairs)
    counts.update((p.dimension, p.grade) for p in points)
    needed: list[tuple[str, str]] = [(d, v) for d in DIMENSIONS for v in ("a", "b") if pairs]
    needed += [(d, g) for d in DIMENSIONS for g in ("good", "bad") if points]
    short = [place for place in needed if counts[place] < settings.min_per_verdict]
    if short or not (pairs or points):
        table = ", ".join(f"{d} {v}: {counts[d, v]}" for d, v in needed) or "no label at all"
        raise DataError(
            f"human seed: too small or one-sided ({table}); every one needs "
            f"{settings.min_per_verdict}. Label more clips, or lower seed_labels.min_per_verdict."
        )


def traces(labels: Sequence[Pair | Point]) -> list[Trace]:
    """A pair makes two traces, the second with A and B swapped; a point makes one."""
    made = []
    for label in labels:
        if label.dimension != "overall":
            made += _of_pair(label) if isinstance(label, Pair) else [_of_point(label)]
    return made


def _of_pair(pair: Pair) -> list[Trace]:
    if pair.verdict == "abstain":
        return []
    assert pair.dimension != "overall"
    ask = Ask(pair.pair_id, "pair", pair.prompt, pair.dimension, (pair.video_a, pair.video_b))
    response = _pair_response(pair)
    return [Trace(ask, response), Trace(ask.swapped(), reasoning.swap(response))]


def _of_point(point: Point) -> Trace:
    assert point.dimension != "overall"
    ask = Ask(point.point_id, "point", point.prompt, point.dimension, (point.video,))
    return Trace(ask, reasoning.render_point(point.rationale, point.grade))


def in_turn(labels: Sequence[Label]) -> list[Label]:
    """Take the dimensions in turn, so that no beginning is about one alone; else in file order."""
    found: dict[str, list[Label]] = {}
    for label in labels:
        found.setdefault(label.dimension, []).append(label)
    return [label for turn in itertools.zip_longest(*found.values()) for label in turn if label]


def supervise(
    vlm: TrainableVlm,
    traces: Sequence[Trace],
    *,
    clips: Clips,
    settings: CriticTraining,
    checkpoint_folder: Path,
    seed: int,
    on_step: Callable[[int, loop.Metrics], None] | None = None,
) -> loop.TrainResult:
    """Fine-tune `vlm` in place on the traces' response tokens."""
    indices = shuffled(len(traces), batch_size=settings.train_batch_size, seed=seed)

    def batch(step: int) -> dict[str, Any]:
        chosen = [traces[i] for i in indices(step)]
        return {"ids": [trace.ask.item_id for trace in chosen], "traces": chosen}

    with vlm.learning():
        return loop.train(
            vlm.module,
            Supervision(vlm, clips=clips),
            batches=batch,
            settings=settings,
            checkpoint_folder=checkpoint_folder,
            seed=seed,
            on_step=on_step,
        )


def self_sampled(
    vlm: Vlm,
    traces: Sequence[Trace],
    *,
    clips: Clips,
    num_paths: int,
    settings: Critic,
    seed_of: SeedOf,
) -> list[PathPair]:
    """Of each trace's question: a path with the human's verdict against a readable one without.

    A question whose paths all agree makes no pair.
    """

    def draw(some: Sequence[Trace]) -> list[list[ReasoningPath]]:
        return vlm.sample(
            load_queries([trace.ask for trace in some], clips),
            num_paths=num_paths,
            temperature=settings.temperature,
            seeds=[_seeds(trace.ask, num_paths, seed_of) for trace in some],
            max_new_tokens=settings.max_new_tokens,
        )

    width = max(1, settings.judge_batch_size // num_paths)
    drawn = batched(traces, draw, batch_size=width, subject="critic's own traces")
    return [
        pair for trace, paths in zip(traces, drawn, strict=True) for pair in _contrast(trace, paths)
    ]


class Supervision(loop.Objective):
    """The objective: negative log-probability of a trace's tokens, each trace weighing the same."""

    def __init__(self, vlm: TrainableVlm, *, clips: Clips) -> None:
        self.vlm = vlm
        self.clips = clips

    def loss(self, micro_batch: dict[str, Any], prepared: None) -> tuple[Tensor, loop.Metrics]:
        """Mean over traces."""
        batch: list[Trace] = micro_batch["traces"]
        queries = load_queries([trace.ask for trace in batch], self.clips)
        sums_B, num_B = self.vlm.log_probs(queries, [trace.response for trace in batch])
        return losses.sequence_nll(sums_B, num_tokens_B=num_B), {}


def _pair_response(pair: Pair) -> str:
    """A rationale without reasons per clip stands with A; grades that contradict are left out."""
    reasons = (pair.reason_a, pair.reason_b)
    reason_a, reason_b = reasons if any(reasons) else (pair.rationale, "")
    grade_a, grade_b = pair.grade_a, pair.grade_b
    if reasoning.contradicts(pair.verdict, grade_a, grade_b):
        grade_a = grade_b = None
    return reasoning.render_pair(reason_a, grade_a, reason_b, grade_b, pair.verdict)


def _seeds(ask: Ask, num_paths: int, seed_of: SeedOf) -> list[int]:
    return [seed_of(ask.item_id, ask.dimension, ask.order, draw, 0) for draw in range(num_paths)]


def _contrast(trace: Trace, paths: Sequence[ReasoningPath]) -> list[PathPair]:
    """The first path of each side: draws are exchangeable."""
    kind = trace.ask.kind
    label = reasoning.parse(trace.response, kind, truncated=False).outcome
    outcomes = [
        reasoning.parse(path.text, kind, truncated=path.truncated).outcome for path in paths
    ]
    right = [path for path, outcome in zip(paths, outcomes, strict=True) if outcome == label]
    wrong = [
        path
        for path, outcome in zip(paths, outcomes, strict=True)
        if outcome not in (label, "abstain")
    ]
    if not right or not wrong:
        return []
    return [PathPair(trace.ask, right[0].token_ids, wrong[0].token_ids)]
