"""The warm start: traces of the human seed, fine-tuning on them, and pairs for DPO (METHOD.md 3.3).

A trace is a question and its answer in the grammar: the evidence is the human's reason and the
verdict the human's label. `rewriting` may word the reason anew. Labels of the dimension "overall"
make no trace, because the critic is asked about one dimension at a time. DPO follows on pairs of
the critic's own paths (`self_sampled`, `preference`).
"""

import itertools
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from torch import Tensor

from dualipo import seeds
from dualipo.config import Critic, CriticTraining
from dualipo.critic import reasoning
from dualipo.critic.asks import CAPTIONLESS, Ask, Clips, SeedOf, load_queries
from dualipo.critic.learning import losses, own_paths
from dualipo.critic.learning.batches import shuffled
from dualipo.critic.learning.caption_exchange import exchanged
from dualipo.critic.learning.preference import PathPair
from dualipo.critic.vlm import ReasoningPath, TrainableVlm, Vlm
from dualipo.records import Pair, Point
from dualipo.training import loop, ranks

Label = TypeVar("Label", bound=Pair | Point)


@dataclass(frozen=True)
class Trace:
    """A question with the answer that follows from a human's label and reasons."""

    ask: Ask
    response: str


def traces(labels: Sequence[Pair | Point]) -> list[Trace]:
    """Write the labels' traces: two of a pair, the second with A and B swapped, one of a point."""
    written = []
    for label in labels:
        if label.dimension != "overall":
            written += _pair_traces(label) if isinstance(label, Pair) else [_point_trace(label)]
    return written


def _pair_traces(pair: Pair) -> list[Trace]:
    if pair.verdict == "abstain":
        return []
    assert pair.dimension != "overall"
    ask = Ask(pair.pair_id, "pair", pair.prompt, pair.dimension, (pair.video_a, pair.video_b))
    response = _pair_response(pair)
    return [Trace(ask, response), Trace(ask.swapped(), reasoning.swap(response))]


def _point_trace(point: Point) -> Trace:
    assert point.dimension != "overall"
    ask = Ask(point.point_id, "point", point.prompt, point.dimension, (point.video,))
    return Trace(ask, reasoning.render_point(point.rationale, point.grade))


def in_turn(labels: Sequence[Label]) -> list[Label]:
    """Reorder labels so that dimensions take turns, and each keeps its file order.

    Any first part of the list is then about every dimension.
    """
    by_dimension: dict[str, list[Label]] = {}
    for label in labels:
        by_dimension.setdefault(label.dimension, []).append(label)
    turns = itertools.zip_longest(*by_dimension.values())
    return [label for turn in turns for label in turn if label]


def supervise(
    vlm: TrainableVlm,
    traces: Sequence[Trace],
    *,
    clips: Clips,
    settings: CriticTraining,
    captionless: Collection[str] = CAPTIONLESS,
    checkpoint_folder: Path,
    seed: int,
    on_step: Callable[[int, loop.Metrics], None] | None = None,
) -> loop.TrainResult:
    """Fine-tune `vlm` in place on the traces' response tokens."""
    captions = [trace.ask.caption for trace in traces]
    indices = shuffled(len(traces), batch_size=settings.train_batch_size, seed=seed)

    def batch(step: int) -> dict[str, Any]:
        chosen = [traces[i] for i in indices(step)]
        asks = exchanged(
            [trace.ask for trace in chosen],
            captions,
            captionless=captionless,
            share=settings.caption_exchange_share,
            seed=seeds.derive(seed, "captions", step),
        )
        chosen = [replace(trace, ask=ask) for trace, ask in zip(chosen, asks, strict=True)]
        chosen = ranks.share(chosen)
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
    """Pair a path with the human's verdict and a readable path with another, for each trace.

    A question whose paths all agree makes no pair.
    """
    drawn = own_paths.draw(
        vlm,
        [trace.ask for trace in traces],
        clips=clips,
        num_paths=num_paths,
        settings=settings,
        seed_of=seed_of,
    )
    return [
        pair for trace, paths in zip(traces, drawn, strict=True) for pair in _contrast(trace, paths)
    ]


@dataclass(frozen=True)
class Supervision(loop.Objective):
    """The training objective: negative log-probability of a trace's tokens, averaged per trace."""

    vlm: TrainableVlm
    clips: Clips

    def loss(self, micro_batch: dict[str, Any], prepared: None) -> tuple[Tensor, loop.Metrics]:
        """Return the mean over the traces; a long trace weighs no more than a short one."""
        batch: list[Trace] = micro_batch["traces"]
        queries = load_queries([trace.ask for trace in batch], self.clips)
        sums_B, num_B = self.vlm.log_probs(queries, [trace.response for trace in batch])
        return losses.sequence_nll(sums_B, num_tokens_B=num_B), {}


def _pair_response(pair: Pair) -> str:
    """Write a human's pair as an answer.

    A rationale that is not split by clip is written as A's evidence; grades that contradict the
    verdict are left out.
    """
    reasons = (pair.reason_a, pair.reason_b)
    reason_a, reason_b = reasons if any(reasons) else (pair.rationale, "")
    grade_a, grade_b = pair.grade_a, pair.grade_b
    if reasoning.contradicts(pair.verdict, grade_a, grade_b):
        grade_a = grade_b = None
    return reasoning.render_pair(reason_a, grade_a, reason_b, grade_b, pair.verdict)


def _contrast(trace: Trace, paths: Sequence[ReasoningPath]) -> list[PathPair]:
    """Pair the first path with the trace's verdict and the first with another, or return nothing.

    The first of each will do, because draws are exchangeable.
    """
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
    answers = (right[0], wrong[0])
    if kind == "pair" and all(reasoning.can_swap(path.text) for path in answers):
        return [PathPair(trace.ask, right[0].text, wrong[0].text)]
    return [PathPair(trace.ask, right[0].token_ids, wrong[0].token_ids)]
