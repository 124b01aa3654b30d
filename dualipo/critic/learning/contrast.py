"""Pairs of paths about labelled pairs of clips, in the critic's own words (METHOD.md 3.2).

A label says which clip is better, but a preference is between two answers. The critic is asked, and
its answers are sorted by the label. Where all of them are right, or all wrong, the missing side is
one of them with the clips exchanged: the same words about the other clip.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from dualipo.config import Critic
from dualipo.critic import reasoning
from dualipo.critic.asks import Ask, Clips, SeedOf
from dualipo.critic.learning import own_paths
from dualipo.critic.learning.preference import PathPair
from dualipo.critic.vlm import ReasoningPath, Vlm
from dualipo.records import OVERALL, Pair, Verdict


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
        if pair.verdict in ("a", "b") and pair.dimension != OVERALL
    ]
    drawn = own_paths.draw(
        vlm,
        [question.ask for question in questions],
        clips=clips,
        num_paths=num_paths,
        settings=settings,
        seed_of=seed_of,
    )
    made = [_contrast(question, paths) for question, paths in zip(questions, drawn, strict=True)]
    return [pair for pair in made if pair is not None]


def _ask(pair: Pair) -> Ask:
    assert pair.dimension != "overall"
    clips = (pair.video_a, pair.video_b)
    return Ask(pair.pair_id, "pair", pair.prompt, pair.dimension, clips)


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
