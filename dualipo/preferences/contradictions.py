"""Which labels of a set are usable: those that no other label contradicts (fault 41).

A question is a caption, a dimension and one or two clips, in whichever order they were shown. Its
majority stands, and the labels against it are left out as outvoted; without a majority all of
them are, as contradictory. Preferences that run in a circle (A over B, B over C, C over A) leave
out every question of the circle. Nothing is deleted: the label set keeps what was given.

Left out: weighing annotators by how often they agree (`agreement.py` measures that).
"""

from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from dualipo.preferences.label_set import LabelSet
from dualipo.records import Pair, Point

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")

Question = tuple[str, str, tuple[str, ...]]  # prompt, dimension, clips
Graph = Mapping[str, Iterable[str]]


@dataclass(frozen=True)
class Usable:
    """What may be learned from, what was left out and why, and how far annotators agree.

    `agreement` is the share of labels that say what their question's majority says, over the
    questions that were asked more than once; None if there are none.
    """

    labels: LabelSet
    excluded: dict[str, int]
    agreement: float | None
    num_repeated: int


def usable(labels: LabelSet) -> Usable:
    """Apply the rule to all pairs and points; abstentions say nothing and are left out."""
    told_pairs = [pair for pair in labels.pairs if pair.verdict != "abstain"]
    pairs = _grouped((_pair_question(pair), pair) for pair in told_pairs)
    points = _grouped((_point_question(point), point) for point in labels.points)
    winners = {q: _majority([_favourite(pair) for pair in group]) for q, group in pairs.items()}
    grades = {q: _majority([point.grade for point in group]) for q, group in points.items()}
    circular = set(_circular(winners))
    excluded: Counter[str] = Counter()
    excluded["abstained"] = len(labels.pairs) - len(told_pairs)
    kept_pairs = []
    for question, pair in ((_pair_question(pair), pair) for pair in told_pairs):
        reason = _objection(_favourite(pair), winners[question], question in circular)
        excluded[reason] += 1
        kept_pairs += [] if reason else [pair]
    kept_points = []
    for point in labels.points:
        reason = _objection(point.grade, grades[_point_question(point)], False)
        excluded[reason] += 1
        kept_points += [] if reason else [point]
    answers: list[list[str]] = [[_favourite(pair) for pair in group] for group in pairs.values()]
    answers += [[point.grade for point in group] for group in points.values()]
    repeated = [group for group in answers if len(group) > 1]
    return Usable(
        LabelSet(tuple(kept_pairs), tuple(kept_points)),
        {reason: num for reason, num in sorted(excluded.items()) if reason and num},
        _agreement(repeated),
        len(repeated),
    )


def _pair_question(pair: Pair) -> Question:
    return pair.prompt_id, pair.dimension, tuple(sorted((pair.video_a, pair.video_b)))


def _point_question(point: Point) -> Question:
    return point.prompt_id, point.dimension, (point.video,)


def _favourite(pair: Pair) -> str:
    """The clip that won, or "tie"."""
    return {"a": pair.video_a, "b": pair.video_b}.get(pair.verdict, "tie")


def _grouped(places: Iterable[tuple[Key, Value]]) -> dict[Key, list[Value]]:
    groups: defaultdict[Key, list[Value]] = defaultdict(list)
    for key, value in places:
        groups[key].append(value)
    return dict(groups)


def _majority(answers: Sequence[str]) -> str | None:
    answer, num = Counter(answers).most_common(1)[0]
    return answer if 2 * num > len(answers) else None


def _objection(answer: str, majority: str | None, is_circular: bool) -> str:
    """Why a label is left out; empty where it is not."""
    if majority is None:
        return "contradictory"
    if answer != majority:
        return "outvoted"
    return "in a circle" if is_circular else ""


def _agreement(repeated: Sequence[Sequence[str]]) -> float | None:
    num = sum(len(answers) for answers in repeated)
    agreeing = sum(Counter(answers).most_common(1)[0][1] for answers in repeated)
    return agreeing / num if num else None


def _circular(winners: Mapping[Question, str | None]) -> Iterator[Question]:
    """The questions whose preference lies on a circle of its prompt and dimension."""
    edges: dict[tuple[str, str], list[tuple[Question, str, str]]] = defaultdict(list)
    for question, winner in winners.items():
        prompt_id, dimension, clips = question
        if winner in clips:
            loser = clips[clips[0] == winner]
            edges[prompt_id, dimension].append((question, winner, loser))
    for group in edges.values():
        part = components(_grouped((winner, loser) for _, winner, loser in group))
        yield from (question for question, winner, loser in group if part[winner] == part[loser])


def components(graph: Graph) -> dict[str, int]:
    """Strongly connected components (Tarjan's, with its own stack): each node's number."""
    order: dict[str, int] = {}
    low: dict[str, int] = {}
    found: dict[str, int] = {}
    open_nodes: list[str] = []
    for root in graph:
        stack = [(root, iter(graph[root]))] if root not in order else []
        if stack:
            order[root] = low[root] = len(order)
            open_nodes.append(root)
        while stack:
            node, successors = stack[-1]
            for successor in successors:
                if successor not in order:
                    order[successor] = low[successor] = len(order)
                    open_nodes.append(successor)
                    stack.append((successor, iter(graph.get(successor, ()))))
                    break
                if successor not in found:
                    low[node] = min(low[node], order[successor])
            else:
                stack.pop()
                if stack:
                    low[stack[-1][0]] = min(low[stack[-1][0]], low[node])
                if low[node] == order[node]:
                    _close(node, open_nodes, found)
    return found


def _close(node: str, open_nodes: list[str], found: dict[str, int]) -> None:
    number = len(found)
    while True:
        member = open_nodes.pop()
        found[member] = number
        if member == node:
            return
