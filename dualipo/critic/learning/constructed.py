"""Pairs whose winner is certain by construction, from strong damages to slight ones.

In motion and faithfulness a clip meets its own damaged copy (`damages`). In consistency it meets a
clip of another caption, under its own: the more alike the captions, the slighter the fault, down to
captions with one attribute changed where the list has such. Any clip can be damaged, so the pairs
serve a refresh and the warm start alike.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from dualipo.critic.asks import Clips
from dualipo.critic.learning.damages import DAMAGES, Damaged, is_visible
from dualipo.records import DIMENSIONS, Dimension, Pair

MAKER = "constructed"  # stands where other labels name their annotator
SEVERITIES = (1.0, 0.7, 0.45, 0.25)
FAULTLESS = "no such fault"


class CaptionedClip(NamedTuple):
    """A clip with the caption that it was made for; the clip is a hash."""

    prompt_id: str
    caption: str
    clip: str


@dataclass(frozen=True)
class Constructed:
    """The pairs, what their damaged clips are, and how many damages could not be seen."""

    pairs: list[Pair]
    damaged: dict[str, Damaged]
    num_invisible: int


def build(shown: Sequence[CaptionedClip], *, num: int, clips: Clips, seed: int) -> Constructed:
    """Construct at most `num` pairs; dimensions, damages and severities take turns.

    The winner is A or B by a coin, and each clip is taken once before any is taken again.
    """
    rng = np.random.default_rng(seed)
    order = [shown[i] for i in rng.permutation(len(shown))]
    turns = itertools.cycle(zip(_kinds(), _severities(), strict=False))
    pairs: list[Pair] = []
    damaged: dict[str, Damaged] = {}
    num_invisible = 0
    for number in range(num if order else 0):
        own = order[number % len(order)]
        (dimension, kind), severity = next(turns)
        name = f"{MAKER}-{seed}-{number}"
        if kind is None:
            loser, reason = _of_another_caption(own, order, severity), "shows something else"
        else:
            copy = Damaged(own.clip, kind, severity, int(rng.integers(2**32)))
            is_seen = is_visible(clips(own.clip), copy.frames(clips))
            loser, reason = (name if is_seen else None), DAMAGES[kind].reason
            damaged |= {name: copy} if is_seen else {}
            num_invisible += not is_seen
        if loser is not None:
            is_a = bool(rng.integers(2))
            pairs.append(_pair(name, own, loser, dimension, reason, is_a=is_a))
    return Constructed(pairs, damaged, num_invisible)


def _kinds() -> list[tuple[Dimension, str | None]]:
    """List damages so that the dimensions take turns; None is another caption's clip."""
    by_dimension: dict[Dimension, list[str | None]] = {d: [] for d in DIMENSIONS}
    for kind, damage in DAMAGES.items():
        by_dimension[damage.dimension].append(kind)
    by_dimension["consistency"] = [None]
    length = max(map(len, by_dimension.values()))
    return [
        (dimension, kinds[n % len(kinds)])
        for n in range(length)
        for dimension, kinds in by_dimension.items()
    ] * len(SEVERITIES)


def _severities() -> list[float]:
    num = len(_kinds()) // len(SEVERITIES)
    return [severity for severity in SEVERITIES for _ in range(num)]


def _of_another_caption(
    own: CaptionedClip, others: Sequence[CaptionedClip], severity: float
) -> str | None:
    """Return a clip of another caption: the least alike for severity 1, the most alike near 0."""
    captions = sorted(
        {other.caption for other in others if other.caption != own.caption},
        key=lambda caption: (_likeness(caption, own.caption), caption),
    )
    if not captions:
        return None
    chosen = captions[round((1 - severity) * (len(captions) - 1))]
    return next(other.clip for other in others if other.caption == chosen)


def _likeness(caption: str, other: str) -> float:
    """Return the share of the two captions' words that they have in common."""
    words, others = set(caption.lower().split()), set(other.lower().split())
    return len(words & others) / max(1, len(words | others))


def _pair(
    pair_id: str, own: CaptionedClip, loser: str, dimension: Dimension, reason: str, *, is_a: bool
) -> Pair:
    (video_a, reason_a), (video_b, reason_b) = sorted(
        [(own.clip, FAULTLESS), (loser, reason)], key=lambda side: (side[0] == own.clip) != is_a
    )
    return Pair(
        pair_id=pair_id,
        prompt_id=own.prompt_id,
        prompt=own.caption,
        video_a=video_a,
        video_b=video_b,
        dimension=dimension,
        verdict="a" if is_a else "b",
        source="simulated",
        annotator_or_critic_version=MAKER,
        reason_a=reason_a,
        reason_b=reason_b,
    )
