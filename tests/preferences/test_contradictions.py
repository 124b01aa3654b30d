"""Tests that labels that contradict one another are kept, but not used."""

import itertools
import random

from dualipo.preferences.contradictions import components, usable
from dualipo.preferences.importers.collect import turned
from dualipo.preferences.label_set import LabelSet
from tests.preferences.conftest import pair, point


def test_fault_41_the_majority_of_a_question_stands() -> None:
    pairs = [pair(0), pair(1), turned(pair(2)), pair(3, "b")]
    result = usable(LabelSet(tuple(pairs)))
    assert result.labels.pairs == tuple(pairs[:3])
    assert result.excluded == {"outvoted": 1}
    assert (result.agreement, result.num_repeated) == (0.75, 1)


def test_fault_41_a_split_question_is_left_out_whole() -> None:
    pairs = (pair(0), pair(1, "b"), pair(2, "tie"), pair(3, dimension="consistency"))
    points = (point(0, "good"), point(1, "bad"), point(2, "bad", "b"))
    result = usable(LabelSet(pairs, points))
    assert result.labels == LabelSet(pairs[3:], points[2:])
    assert result.excluded == {"contradictory": 5}
    assert result.agreement == 2 / 5 and result.num_repeated == 2


def test_fault_41_preferences_in_a_circle_are_left_out() -> None:
    circle = (pair(0, "a", "ab"), pair(1, "b", "cb"), pair(2, "a", "ca"))
    outside = (pair(3, "a", "ad"), pair(4, "tie", "bd"), pair(5, "a", "ac", dimension="motion2"))
    result = usable(LabelSet((*circle, *outside)))
    assert result.labels.pairs == outside
    assert result.excluded == {"in a circle": 3} and result.agreement is None


def test_an_abstention_says_nothing() -> None:
    result = usable(LabelSet((pair(0), pair(1, "abstain"))))
    assert result.labels.pairs == (pair(0),)
    assert (result.excluded, result.num_repeated) == ({"abstained": 1}, 0)


def test_components_are_what_reaches_and_is_reached() -> None:
    rng = random.Random(0)
    for _ in range(200):
        nodes = "abcdef"[: rng.randint(1, 6)]
        graph = {n: [m for m in nodes if m != n and rng.random() < 0.3] for n in nodes}
        part = components(graph)
        for first, second in itertools.combinations(nodes, 2):
            mutual = reaches(graph, first, second) and reaches(graph, second, first)
            assert (part[first] == part[second]) == mutual


def reaches(graph: dict[str, list[str]], start: str, goal: str) -> bool:
    seen, todo = {start}, [start]
    while todo:
        todo += [m for m in graph[todo.pop()] if m not in seen and not seen.add(m)]  # type: ignore[func-returns-value]
    return goal in seen
