"""Accuracy by forced choice: how far the critic leans to A on a labelled pair (METHOD.md 3.4).

The critic reasons greedily, then A and B are compared in the verdict's place; the mean over both
orders cancels a preference for a position. Leaves out ties: thresholds on the margin belong to
the evaluation. A clip's grade is chosen in the same way, where there are no pairs.
"""

import math
from collections.abc import Mapping, Sequence
from functools import partial

from dualipo.config import Critic
from dualipo.critic import reasoning
from dualipo.critic.asks import Ask, Clips, Item, asks_about, load_queries
from dualipo.critic.vlm import Choice, Query, ReasoningPath, Vlm
from dualipo.records import GRADES, Dimension, Grade, Verdict
from dualipo.training.memory import batched

Place = tuple[str, Dimension]
VERDICT = Choice(reasoning.VERDICT_TAG, ("A", "B"))


def margins(
    vlm: Vlm, items: Sequence[Item], *, clips: Clips, settings: Critic
) -> dict[Place, float]:
    """log p(A) - log p(B) of every item and dimension, averaged over both orders.

    A place where either order has no answer is absent: none is no lean.
    """
    asks = asks_about(items)
    found = _log_probs(vlm, asks, VERDICT, clips=clips, settings=settings)
    sums: dict[Place, float] = {}
    for ask, log_probs in zip(asks, found, strict=True):
        lean = log_probs["A"] - log_probs["B"]
        sign = 0.5 if ask.order == "ab" else -0.5
        sums[ask.item_id, ask.dimension] = sums.get((ask.item_id, ask.dimension), 0.0) + sign * lean
    return {place: margin for place, margin in sums.items() if not math.isnan(margin)}


def grades(
    vlm: Vlm, items: Sequence[Item], *, clips: Clips, settings: Critic
) -> dict[Place, Grade]:
    """The likeliest grade of every single clip and dimension; none where there is no answer."""
    asks = asks_about(items)
    found = _log_probs(vlm, asks, reasoning.GRADE_CHOICE, clips=clips, settings=settings)
    return {
        (ask.item_id, ask.dimension): max(GRADES, key=log_probs.__getitem__)
        for ask, log_probs in zip(asks, found, strict=True)
        if not any(map(math.isnan, log_probs.values()))
    }


def accuracy(margin: Mapping[Place, float], verdicts: Mapping[Place, Verdict]) -> float | None:
    """Part of the decided verdicts that the margins' signs meet; no lean counts half.

    Places without a margin are left out.
    """
    decided = {
        place: verdict
        for place, verdict in verdicts.items()
        if verdict in ("a", "b") and place in margin
    }
    if not decided:
        return None
    hits = 0.0
    for place, verdict in decided.items():
        lean = margin[place] if verdict == "a" else -margin[place]
        hits += 1.0 if lean > 0 else 0.5 if lean == 0 else 0.0
    return hits / len(decided)


def _log_probs(
    vlm: Vlm, asks: Sequence[Ask], choice: Choice, *, clips: Clips, settings: Critic
) -> list[dict[str, float]]:
    """Of each option in the label's place, behind a greedy path."""
    return batched(
        asks,
        partial(_choose, vlm, choice, clips, settings),
        batch_size=settings.judge_batch_size,
        subject="forced choice",
    )


def _choose(
    vlm: Vlm, choice: Choice, clips: Clips, settings: Critic, batch: Sequence[Ask]
) -> list[dict[str, float]]:
    queries = load_queries(batch, clips)
    drawn = vlm.sample(
        queries,
        num_paths=1,
        temperature=0.0,
        seeds=[[0]] * len(batch),
        max_new_tokens=settings.max_new_tokens,
        choice=choice,
    )
    return _in_place(vlm, queries, [path for [path] in drawn], choice)


def _in_place(
    vlm: Vlm, queries: Sequence[Query], paths: Sequence[ReasoningPath], choice: Choice
) -> list[dict[str, float]]:
    """As the path was drawn, where it reached its label; else the critic is led to it."""
    found = [path.choice_log_probs if path.text.count(choice.after) == 1 else {} for path in paths]
    unmet = [n for n, log_probs in enumerate(found) if not log_probs]
    if unmet:
        prefixes = [_up_to(choice.after, paths[n].text) for n in unmet]
        rows = vlm.choice_log_probs([queries[n] for n in unmet], prefixes, choice.options)
        for n, row_C in zip(unmet, rows.tolist(), strict=True):
            found[n] = dict(zip(choice.options, row_C, strict=True))
    return found


def _up_to(tag: str, text: str) -> str:
    """The evidence and the opening tag; a path without one is led to it."""
    return text.partition(tag)[0].rstrip("\n") + "\n" + tag
