"""Finds the usable labels of a set: those that no other label contradicts (fault 41).

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
    """The labels that training may use, the excluded ones by reason, and the annotators' agreement.

    `agreement` is the share of labels that agree with their question's majority, over the questions
    that were asked more than once; None if there are none.
    """

    labels: LabelSet
    excluded: dict[str, int]
    agreement: float | None
    num_repeated: int


def usable(labels: LabelSet) -> Usable:
    """Return the pairs and points that no other label contradicts, abstentions left out."""
    decided = [pair for pair in labels.pairs if pair.verdict != "abstain"]
    answers = _grouped(
        [(_pair_question(pair), _favourite(pair)) for pair in decided]
        + [(_point_question(point), point.grade) for point in labels.points]
    )
    majorities = {question: _majority(group) for question, group in answers.items()}
    circular = set(_circular(majorities))
    excluded: Counter[str] = Counter()
    excluded["abstained"] = len(labels.pairs) - len(decided)

    def is_kept(question: Question, answer: str) -> bool:
        reason = _objection(answer, majorities[question], question in circular)
        excluded[reason] += 1
        return not reason

    pairs = tuple(p for p in decided if is_kept(_pair_question(p), _favourite(p)))
    points = tuple(p for p in labels.points if is_kept(_point_question(p), p.grade))
    repeated = [group for group in answers.values() if len(group) > 1]
    return Usable(
        LabelSet(pairs, points),
        {reason: num for reason, num in sorted(excluded.items()) if reason and num},
        _agreement(repeated),
        len(repeated),
    )


def _pair_question(pair: Pair) -> Question:
    return pair.prompt_id, pair.dimension, tuple(sorted((pair.video_a, pair.video_b)))


def _point_question(point: Point) -> Question:
    return point.prompt_id, point.dimension, (point.video,)


def _favourite(pair: Pair) -> str:
    """Return the clip that won, or "tie"."""
    return {"a": pair.video_a, "b": pair.video_b}.get(pair.verdict, "tie")


def _grouped(items: Iterable[tuple[Key, Value]]) -> dict[Key, list[Value]]:
    groups: defaultdict[Key, list[Value]] = defaultdict(list)
    for key, value in items:
        groups[key].append(value)
    return dict(groups)


def _majority(answers: Sequence[str]) -> str | None:
    answer, num = Counter(answers).most_common(1)[0]
    return answer if 2 * num > len(answers) else None


def _objection(answer: str, majority: str | None, is_circular: bool) -> str:
    """Return the reason for which a label is left out; "" where it is kept."""
    if majority is None:
        return "contradictory"
    if answer != majority:
        return "outvoted"
    return "in a circle" if is_circular else ""


def _agreement(repeated: Sequence[Sequence[str]]) -> float | None:
    num = sum(len(answers) for answers in repeated)
    agreeing = sum(Counter(answers).most_common(1)[0][1] for answers in repeated)
    return agreeing / num if num else None


def _circular(majorities: Mapping[Question, str | None]) -> Iterator[Question]:
    """Yield the questions whose preference lies on a circle of its prompt and dimension."""
    edges: dict[tuple[str, str], list[tuple[Question, str, str]]] = defaultdict(list)
    for question, winner in majorities.items():
        prompt_id, dimension, clips = question
        if winner in clips:  # neither a tie, nor a grade, nor an open question
            loser = clips[clips[0] == winner]
            edges[prompt_id, dimension].append((question, winner, loser))
    for group in edges.values():
        part = components(_grouped((winner, loser) for _, winner, loser in group))
        yield from (question for question, winner, loser in group if part[winner] == part[loser])


def components(graph: Graph) -> dict[str, int]:
    """Return the number of each node's strongly connected component, by Tarjan's algorithm.

    Python's recursion limit is short, so the stack of nodes is kept here. `order` is the order of
    discovery, `low` the earliest node that a node's subtree leads back to: where both are the same,
    the nodes on `open_nodes` down to it are one component.
    """
    order: dict[str, int] = {}
    low: dict[str, int] = {}
    numbers: dict[str, int] = {}
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
                if successor not in numbers:
                    low[node] = min(low[node], order[successor])
            else:
                stack.pop()
                if stack:
                    low[stack[-1][0]] = min(low[stack[-1][0]], low[node])
                if low[node] == order[node]:
                    _close(node, open_nodes, numbers)
    return numbers


def _close(node: str, open_nodes: list[str], numbers: dict[str, int]) -> None:
    number = len(numbers)
    while True:
        member = open_nodes.pop()
        numbers[member] = number
        if member == node:
            return
