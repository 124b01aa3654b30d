"""Pairs of paths about labelled pairs of clips, in the critic's own words (METHOD.md 3.2).

A label says which clip is better, but a preference is between two answers. The critic is asked, and
its answers are sorted by the label. Where all of them are right, or all wrong, the missing side is
one of them with the clips exchanged: the same words about the other clip.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from dualipo.config import Critic
from dualipo.critic import reasoning
from dualipo.critic.asks import Ask, Clips, SeedOf, load_queries
from dualipo.critic.learning.preference import PathPair
from dualipo.critic.vlm import ReasoningPath, Sampling, Vlm
from dualipo.records import DIMENSIONS, Pair, Verdict
from dualipo.training.memory import batched


@dataclass(frozen=True)
class _Question:
    """A question about a labelled pair, with the label's verdict on the clips as shown."""

    ask: Ask
    verdict: Verdict


def path_pairs(
    vlm: Vlm,
    pairs: Sequence[Pair],
    *,
    clips: Clips,
    num_paths: int,
    settings: Critic,
    seed_of: SeedOf,
) -> list[PathPair]:
    """Ask about each labelled pair and return a right and a wrong answer to it.

    Pairs that are labelled a tie make none, nor does one about which the critic says nothing
    readable but ties.
    """
    questions = [
        _Question(_ask(pair), pair.verdict)
        for pair in pairs
        if pair.verdict in ("a", "b") and pair.dimension in DIMENSIONS
    ]

    def draw(batch: Sequence[_Question]) -> list[list[ReasoningPath]]:
        return vlm.sample(
            load_queries([question.ask for question in batch], clips),
            Sampling(
                seeds=[_seeds(question.ask, num_paths, seed_of) for question in batch],
                temperature=settings.temperature,
                max_new_tokens=settings.max_new_tokens,
            ),
        )

    width = max(1, settings.judge_batch_size // num_paths)
    drawn = batched(questions, draw, batch_size=width, subject="critic's answers on labels")
    made = [_contrast(question, paths) for question, paths in zip(questions, drawn, strict=True)]
    return [pair for pair in made if pair is not None]


def _ask(pair: Pair) -> Ask:
    assert pair.dimension != "overall"
    clips = (pair.video_a, pair.video_b)
    return Ask(pair.pair_id, "pair", pair.prompt, pair.dimension, clips)


def _seeds(ask: Ask, num_paths: int, seed_of: SeedOf) -> list[int]:
    return [seed_of(ask.item_id, ask.dimension, ask.order, draw, 0) for draw in range(num_paths)]


def _contrast(question: _Question, paths: Sequence[ReasoningPath]) -> PathPair | None:
    """Return the first right and the first wrong answer; draws are exchangeable."""
    by_outcome: dict[str, str] = {}
    for path in paths:
        outcome = reasoning.parse(path.text, "pair", truncated=path.truncated).outcome
        by_outcome.setdefault(outcome, path.text)
    opposite = reasoning.swap_verdict(question.verdict)
    right, wrong = by_outcome.get(question.verdict), by_outcome.get(opposite)
    if right is None and wrong is not None:
        right = reasoning.swap(wrong)
    if right is None:
        return None
    return PathPair(question.ask, right, wrong or by_outcome.get("tie") or reasoning.swap(right))
