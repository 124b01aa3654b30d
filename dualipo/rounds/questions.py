"""Questions about clips that are drawn at random, spread evenly over the dimensions.

The seed's annotators, the audit, the accuracy on ordered pairs and the refresh draw them here.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch

from dualipo.records import DIMENSIONS, Candidate, Dimension, Prompt


class PairQuestion(NamedTuple):
    """A question which of two clips of one prompt is better in a dimension; clips are hashes."""

    prompt: Prompt
    clip_a: str
    clip_b: str
    dimension: Dimension


class PointQuestion(NamedTuple):
    """A question how good a clip is in a dimension; the clip is a hash."""

    prompt: Prompt
    clip: str
    dimension: Dimension


def pair_questions(candidates: Sequence[Candidate], *, num: int, seed: int) -> list[PairQuestion]:
    """Return at most `num` questions about two different clips of one prompt."""
    by_prompt: dict[str, list[Candidate]] = {}
    for candidate in candidates:
        by_prompt.setdefault(candidate.prompt_id, []).append(candidate)
    pairs = [
        (Prompt(a.prompt_id, a.caption), a.clip, b.clip)
        for group in by_prompt.values()
        for n, a in enumerate(group)
        for b in group[n + 1 :]
        if a.clip != b.clip
    ]
    places = _spread(len(pairs), num=num, seed=seed)
    return [PairQuestion(*pairs[n], dimension) for n, dimension in places]


def point_questions(candidates: Sequence[Candidate], *, num: int, seed: int) -> list[PointQuestion]:
    """Return at most `num` questions about single clips, none twice."""
    clips = {c.clip: Prompt(c.prompt_id, c.caption) for c in candidates}
    points = [(prompt, clip) for clip, prompt in clips.items()]
    places = _spread(len(points), num=num, seed=seed)
    return [PointQuestion(*points[n], dimension) for n, dimension in places]


def _spread(num_items: int, *, num: int, seed: int) -> list[tuple[int, Dimension]]:
    """Return at most `num` different (item, dimension), the dimensions in turn.

    Each dimension has its own random order of the items.
    """
    generator = torch.Generator().manual_seed(seed)
    orders = {d: torch.randperm(num_items, generator=generator).tolist() for d in DIMENSIONS}
    places = [(orders[d][n], d) for n in range(num_items) for d in DIMENSIONS]
    return places[:num]
