"""Labels as what a generator is aligned on: pairs for Diffusion-DPO, clips for Diffusion-KTO.

Only labels that no other label contradicts are used. A pair may be labelled in several dimensions:
"overall" decides where it was labelled, else one clip has to win a dimension and lose none
(METHOD.md 3.4). A clip's grades give its label as in a round (METHOD.md 4.3): Bad in any dimension
is undesirable, Good in every labelled one desirable. Where labels compare pairs only, Diffusion-KTO
takes the winners as desirable and the losers as not. What is left out is counted by reason.
"""

import statistics
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from dualipo.errors import DataError
from dualipo.preferences import contradictions
from dualipo.preferences.label_set import LabelSet
from dualipo.records import Pair, Point, Source

Label = TypeVar("Label", Pair, Point)


@dataclass(frozen=True)
class TrainedPair:
    """A pair to learn from, by its clips' hashes."""

    item_id: str
    prompt_id: str
    caption: str
    winner: str
    loser: str
    certainty: float

    @property
    def clips(self) -> tuple[str, ...]:
        """Both clips."""
        return self.winner, self.loser


@dataclass(frozen=True)
class TrainedClip:
    """A labelled clip to learn from."""

    item_id: str
    prompt_id: str
    caption: str
    clip: str
    desirable: bool
    certainty: float

    @property
    def clips(self) -> tuple[str, ...]:
        """The one clip."""
        return (self.clip,)


@dataclass(frozen=True)
class Trainable:
    """What an alignment learns from; `dropped` counts the questions that gave nothing, by reason.

    `sources` counts the labels that were read by who made them: people, a program or a critic.
    """

    items: Sequence[TrainedPair] | Sequence[TrainedClip]
    num_questions: int
    dropped: dict[str, int]
    sources: dict[Source, int]


def read(labels: LabelSet, *, loss_type: str, dimension: str | None = None) -> Trainable:
    """Return the items of a loss; with a `dimension`, labels of that dimension alone are used."""
    of_all = LabelSet(
        tuple(pair for pair in labels.pairs if dimension in (None, pair.dimension)),
        tuple(point for point in labels.points if dimension in (None, point.dimension)),
    )
    if dimension is not None and not of_all.every:
        known = ", ".join(sorted({label.dimension for label in labels.every})) or "nothing"
        raise DataError(f"--only {dimension}: the labels are about {known}. Name one of these.")
    usable = contradictions.usable(of_all)
    dropped = Counter(usable.excluded)
    items: list[TrainedPair] | list[TrainedClip]
    if loss_type == "dpo":
        items, num_questions = _pairs(usable.labels.pairs, dropped)
    elif usable.labels.points:
        items, num_questions = _clips(usable.labels.points, dropped)
    else:
        pairs, num_questions = _pairs(usable.labels.pairs, dropped)
        items = _sides(pairs, dropped)
    sources = Counter(label.source for label in of_all.every)
    kept = {reason: num for reason, num in sorted(dropped.items()) if num}
    return Trainable(items, num_questions, kept, dict(sources))


def _pairs(pairs: Sequence[Pair], dropped: Counter[str]) -> tuple[list[TrainedPair], int]:
    groups: dict[tuple[str, frozenset[str]], list[Pair]] = {}
    for pair in pairs:
        clips = frozenset((pair.video_a, pair.video_b))
        groups.setdefault((pair.prompt_id, clips), []).append(pair)
    kept = []
    for group in groups.values():
        deciding = _deciding(group)
        winners = {_winner(pair) for pair in deciding} - {None}
        if len(winners) != 1:
            dropped["dimensions disagree" if winners else "tie"] += 1
            continue
        (winner,) = winners
        first = group[0]
        loser = first.video_b if winner == first.video_a else first.video_a
        won = [pair for pair in deciding if _winner(pair)]
        kept.append(
            TrainedPair(
                item_id=first.pair_id,
                prompt_id=first.prompt_id,
                caption=first.prompt,
                winner=str(winner),
                loser=loser,
                certainty=statistics.fmean(pair.certainty for pair in won),
            )
        )
    return kept, len(groups)


def _clips(points: Sequence[Point], dropped: Counter[str]) -> tuple[list[TrainedClip], int]:
    groups: dict[tuple[str, str], list[Point]] = {}
    for point in points:
        groups.setdefault((point.prompt_id, point.video), []).append(point)
    kept = []
    for group in groups.values():
        deciding = _deciding(group)
        grades = {point.grade for point in deciding}
        if "bad" not in grades and grades != {"good"}:
            dropped["neither good nor bad"] += 1
            continue
        first = group[0]
        kept.append(
            TrainedClip(
                item_id=first.point_id,
                prompt_id=first.prompt_id,
                caption=first.prompt,
                clip=first.video,
                desirable="bad" not in grades,
                certainty=statistics.fmean(point.certainty for point in deciding),
            )
        )
    return kept, len(groups)


def _sides(pairs: Iterable[TrainedPair], dropped: Counter[str]) -> list[TrainedClip]:
    """Return the winners as desirable clips and the losers as undesirable ones, each clip once."""
    sides: dict[tuple[str, str], list[tuple[TrainedPair, bool]]] = {}
    for pair in pairs:
        for clip, has_won in ((pair.winner, True), (pair.loser, False)):
            sides.setdefault((pair.prompt_id, clip), []).append((pair, has_won))
    kept = []
    for (prompt_id, clip), group in sides.items():
        if len({has_won for _, has_won in group}) > 1:
            dropped["won one pair, lost another"] += 1
            continue
        first, has_won = group[0]
        kept.append(
            TrainedClip(
                item_id=f"{prompt_id}:{clip}",
                prompt_id=prompt_id,
                caption=first.caption,
                clip=clip,
                desirable=has_won,
                certainty=statistics.fmean(pair.certainty for pair, _ in group),
            )
        )
    return kept


def _deciding(group: Sequence[Label]) -> list[Label]:
    """Return the labels that decide about one question: those of the whole, where there are any."""
    overall = [label for label in group if label.dimension == "overall"]
    return overall or list(group)


def _winner(pair: Pair) -> str | None:
    return {"a": pair.video_a, "b": pair.video_b}.get(pair.verdict)
