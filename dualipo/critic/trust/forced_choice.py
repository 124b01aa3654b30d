"""Accuracy by forced choice: how far the critic leans to A on a labelled pair (METHOD.md 3.4).

The critic reasons greedily, then the probabilities of A and B are compared in the verdict's place.
The mean over both orders cancels a preference for a place, which each order by itself shows.
Leaves out ties: thresholds on the margin belong to the evaluation. Where there are no pairs, a
clip's grade is chosen in the same way.
"""

import math
from collections.abc import Mapping, Sequence
from functools import partial

from dualipo.config import Critic
from dualipo.critic import reasoning, tolerant
from dualipo.critic.asks import Ask, Clips, Item, asks_about, load_queries
from dualipo.critic.vlm import Choice, Query, ReasoningPath, Sampling, Vlm
from dualipo.records import GRADES, Dimension, Grade, Verdict
from dualipo.training.memory import batched

Place = tuple[str, Dimension]
VERDICT = Choice(reasoning.VERDICT_TAG, ("A", "B"))


def margins(
    vlm: Vlm, items: Sequence[Item], *, clips: Clips, settings: Critic
) -> dict[Place, float]:
    """Return log p(A) - log p(B) of every item and dimension, averaged over both orders.

    An item is absent where an order has no answer, because no answer is not the same as no lean.
    """
    both = margins_by_order(vlm, items, clips=clips, settings=settings)
    return {place: (ab + ba) / 2 for place, (ab, ba) in both.items()}


def margins_by_order(
    vlm: Vlm, items: Sequence[Item], *, clips: Clips, settings: Critic
) -> dict[Place, tuple[float, float]]:
    """Return log p(A) - log p(B), shown as they are and exchanged; A and B are the item's own.

    A critic that prefers a place is wrong in one of the two, which their mean does not show.
    """
    asks = asks_about(items)
    answers = _log_probs(vlm, asks, VERDICT, clips=clips, settings=settings)
    found: dict[Place, list[float]] = {}
    for ask, log_probs in zip(asks, answers, strict=True):
        lean = log_probs["A"] - log_probs["B"]
        found.setdefault((ask.item_id, ask.dimension), []).append(
            lean if ask.order == "ab" else -lean
        )
    return {
        place: (ab, ba)
        for place, (ab, ba) in found.items()
        if not (math.isnan(ab) or math.isnan(ba))
    }


def grades(
    vlm: Vlm, items: Sequence[Item], *, clips: Clips, settings: Critic
) -> dict[Place, Grade]:
    """Return the likeliest grade of every single clip and dimension that has an answer."""
    answers = grade_log_probs(vlm, items, clips=clips, settings=settings)
    return {
        place: max(GRADES, key=log_probs.__getitem__)
        for place, log_probs in answers.items()
        if not any(map(math.isnan, log_probs.values()))
    }


def grade_log_probs(
    vlm: Vlm, items: Sequence[Item], *, clips: Clips, settings: Critic
) -> dict[Place, dict[str, float]]:
    """Return the log-probability of each grade of every single clip; NaN without an answer."""
    asks = asks_about(items)
    answers = _log_probs(vlm, asks, reasoning.GRADE_CHOICE, clips=clips, settings=settings)
    places = [(ask.item_id, ask.dimension) for ask in asks]
    return dict(zip(places, answers, strict=True))


def grade_lean(log_probs: Mapping[str, float], grade: Grade) -> float:
    """Return the log-odds of a grade against the other two."""
    others = [log_probs[other] for other in GRADES if other != grade]
    top = max(others)
    return log_probs[grade] - top - math.log(sum(math.exp(value - top) for value in others))


def accuracy(margin: Mapping[Place, float], verdicts: Mapping[Place, Verdict]) -> float | None:
    """Return the share of the verdicts A and B that the margins' signs meet; no lean counts half.

    Items without a margin are left out; None means that no item is left.
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
    """Return each option's log-probability in the label's place, at the end of a greedy path."""
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
        Sampling([[0]] * len(batch), 0.0, settings.max_new_tokens, choice),
    )
    return _in_place(vlm, queries, [path for [path] in drawn], choice)


def _in_place(
    vlm: Vlm, queries: Sequence[Query], paths: Sequence[ReasoningPath], choice: Choice
) -> list[dict[str, float]]:
    """Return the options' log-probabilities; ask the critic for them where a path has no label."""
    answers = [path.choice_log_probs if _is_answered(path, choice) else {} for path in paths]
    missing = [n for n, log_probs in enumerate(answers) if not log_probs]
    if missing:
        prefixes = [up_to(choice.after, paths[n].text) for n in missing]
        rows = vlm.choice_log_probs([queries[n] for n in missing], prefixes, choice.options)
        for n, row_C in zip(missing, rows.tolist(), strict=True):
            answers[n] = dict(zip(choice.options, row_C, strict=True))
    return answers


def _is_answered(path: ReasoningPath, choice: Choice) -> bool:
    """Tell whether the only tag stands in the answer; one in a thought holds no verdict."""
    begin = tolerant.end_of_thoughts(path.text)
    return path.text.count(choice.after) == path.text.count(choice.after, begin) == 1


def up_to(tag: str, text: str) -> str:
    """Return a path's evidence followed by the opening tag, which the text may lack.

    A tag in a thought does not end the evidence.
    """
    begin = tolerant.end_of_thoughts(text)
    return (text[:begin] + text[begin:].partition(tag)[0]).rstrip("\n") + "\n" + tag
