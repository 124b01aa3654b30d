"""Whether a refreshed critic serves: it is compared with the old one on labels (METHOD.md 5).

The labels are those of the audit, which are of the present generator's clips, as far as they only
measure. Where they are of too few prompts, the held-out labels of the base's clips take their
place, less the half that chose the checkpoint. A pair is asked in both orders, and each answer
counts by itself as in a round's votes: a critic that prefers a place is wrong in one of them.
`evaluation.refresh_gate` has the statistics.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from dualipo.config import LEARNING, Config, Critic
from dualipo.critic.asks import Clips, Item
from dualipo.critic.trust import forced_choice
from dualipo.critic.trust.forced_choice import Place
from dualipo.critic.vlm import Vlm
from dualipo.evaluation import refresh_gate
from dualipo.event_parts import Gate
from dualipo.records import Pair, Point
from dualipo.rounds import audit, seed_labels
from dualipo.rounds.asking import Ask
from dualipo.rounds.run import Run

Label = Pair | Point
# By a label's place: one for each order of a pair, one for a clip. What is not answered is absent.
Leans = dict[int, tuple[float, ...]]


@dataclass(frozen=True)
class GateLabels:
    """The labels that a refresh is judged on, and whose clips they are about."""

    of: Literal["audit", "held out"]
    labels: Sequence[Label]


def labels_for(run: Run, round: int, attempt: int) -> GateLabels:
    """Return the labels by which the refresh of this attempt is judged."""
    fresh = audit.measuring(run, audit.newest(run, round, attempt))
    if len({pair.prompt_id for pair in fresh}) >= refresh_gate.LEAST_PROMPTS:
        return GateLabels("audit", fresh)
    return GateLabels("held out", held_out_half(run, chooses=False))


def held_out_half(run: Run, *, chooses: bool) -> list[Label]:
    """Return held-out labels of the seed: pairs, or graded clips where there are none.

    One half of the prompts chooses a training's checkpoint, the other half judges what was chosen.
    """
    pairs, points = seed_labels.held_out_labels(run)
    labels: list[Label] = [*pairs] if pairs else [*points]
    prompts = sorted({label.prompt_id for label in labels}, key=lambda p: run.seed("half", p))
    choosing = set(prompts[1::2])
    return [label for label in labels if (label.prompt_id in choosing) == chooses]


def leans(critic: Vlm, labels: Sequence[Label], *, clips: Clips, settings: Critic) -> Leans:
    """Return the log-odds with which a critic chooses each label's verdict; ties are left out.

    A pair has one for each order of its clips.
    """

    def answers(ask: Ask, items: Sequence[Item]) -> dict[Place, Any]:
        return ask(critic, items, clips=clips, settings=settings)

    return leans_of(answers, labels, dimensions=settings.questions.names)


def leans_of(
    answers: Callable[[Ask, Sequence[Item]], dict[Place, Any]],
    labels: Sequence[Label],
    *,
    dimensions: Sequence[str],
) -> Leans:
    """Return a critic's log-odds as `leans` does, where `answers` asks it."""
    asked = {n: label for n, label in enumerate(labels) if label.dimension in dimensions}
    pairs = {n: p for n, p in asked.items() if isinstance(p, Pair) and p.verdict in ("a", "b")}
    points = {n: label for n, label in asked.items() if isinstance(label, Point)}
    margins = answers(forced_choice.margins_by_order, [_item(n, pair) for n, pair in pairs.items()])
    point_items = [_item(n, point) for n, point in points.items()]
    graded = answers(forced_choice.grade_log_probs, point_items)
    signs = {n: 1.0 if pair.verdict == "a" else -1.0 for n, pair in pairs.items()}
    found: Leans = {}
    for (n, _), both in margins.items():
        found[int(n)] = tuple(signs[int(n)] * margin for margin in both)
    for (n, _), log_probs in graded.items():
        found[int(n)] = (forced_choice.grade_lean(log_probs, points[int(n)].grade),)
    return {n: own for n, own in found.items() if not np.isnan(own).any()}


def compare(chosen: GateLabels, before: Leans, after: Leans, *, margin: float) -> Gate | None:
    """Compare two critics' leans; None where the labels are of too few prompts.

    A label that the old critic answers and the new one does not counts as wrong with certainty.
    """
    places = sorted(before)
    prompt_ids = [chosen.labels[n].prompt_id for n in places]
    if len(set(prompt_ids)) < refresh_gate.LEAST_PROMPTS:
        return None
    surest = max(abs(lean) for own in before.values() for lean in own)
    old = [before[n] for n in places]
    new = [after.get(n, (-surest,) * len(before[n])) for n in places]
    ruling = refresh_gate.rule(old, new, prompt_ids=prompt_ids)
    low, high = ruling.accuracy.interval
    loss_low, loss_high = ruling.loss.interval
    return Gate(
        verdict=ruling.verdict,
        labels=chosen.of,
        num_labels=ruling.num_labels,
        num_prompts=ruling.num_prompts,
        accuracy_before=refresh_gate.accuracy(old),
        accuracy_after=refresh_gate.accuracy(new),
        accuracy_low=low,
        accuracy_high=high,
        loss=ruling.loss.mean,
        loss_low=loss_low,
        loss_high=loss_high,
        detectable=ruling.detectable,
        margin=margin,
    )


def power(config: Config) -> str | None:
    """Say how many labels the gate has and how many its margin takes; None without refreshes."""
    settings, monitor = config.refresh, config.monitor
    is_refreshed = config.rounds and settings.update_critic and config.critic.backend in LEARNING
    if not is_refreshed:
        return None
    needed = refresh_gate.labels_needed(settings.gate_margin)
    num_dimensions = len(config.critic.questions.names)
    most = config.prompts.num_monitor_prompts * num_dimensions
    num = min(monitor.num_audit_labels, most)
    if audit.READERS.intersection(settings.sources):
        num = -(-num // 2)  # the other half is learned from
    if num >= needed:
        return None
    labels = f"{num} audit labels at most" if num else "held-out labels of the base's clips alone"
    return (
        f"a refresh of the critic is judged on {labels}; to see a fall of "
        f"{100 * settings.gate_margin:g} points takes about {needed:,} (monitor.num_audit_labels, "
        f"and {-(-needed // num_dimensions):,} prompts.num_monitor_prompts)"
    )


def _item(number: int, label: Label) -> Item:
    clips = (label.video_a, label.video_b) if isinstance(label, Pair) else (label.video,)
    assert label.dimension != "overall"
    return Item(str(number), label.prompt, clips, (label.dimension,))
