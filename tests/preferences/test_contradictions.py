"""Labels that contradict one another are kept and not used."""

import itertools
import random

from dualipo.preferences.contradictions import components, usable
from dualipo.preferences.importers.load import turned
from dualipo.preferences.label_set import LabelSet
from tests.preferences.conftest import pair, point


def test_fault_41_the_majority_of_a_question_stands() -> None:
    told = [pair(0), pair(1), turned(pair(2)), pair(3, "b")]
    found = usable(LabelSet(tuple(told)))
    assert found.labels.pairs == tuple(told[:3])
    assert found.excluded == {"outvoted": 1}
    assert (found.agreement, found.num_repeated) == (0.75, 1)


def test_fault_41_a_split_question_is_left_out_whole() -> None:
    pairs = (pair(0), pair(1, "b"), pair(2, "tie"), pair(3, dimension="consistency"))
    points = (point(0, "good"), point(1, "bad"), point(2, "bad", "b"))
    found = usable(LabelSet(pairs, points))
    assert found.labels == LabelSet(pairs[3:], points[2:])
    assert found.excluded == {"contradictory": 5}
    assert found.agreement == 2 / 5 and found.num_repeated == 2


def test_fault_41_preferences_in_a_circle_are_left_out() -> None:
    circle = (pair(0, "a", "ab"), pair(1, "b", "cb"), pair(2, "a", "ca"))
    outside = (pair(3, "a", "ad"), pair(4, "tie", "bd"), pair(5, "a", "ac", dimension="motion2"))
    found = usable(LabelSet((*circle, *outside)))
    assert found.labels.pairs == outside
    assert found.excluded == {"in a circle": 3} and found.agreement is None


def test_an_abstention_says_nothing() -> None:
    found = usable(LabelSet((pair(0), pair(1, "abstain"))))
    assert found.labels.pairs == (pair(0),)
    assert (found.excluded, found.num_repeated) == ({"abstained": 1}, 0)


def test_components_are_what_reaches_and_is_reached() -> None:
    rng = random.Random(0)
    for _ in range(200):
        nodes = "abcdef"[: rng.randint(1, 6)]
        graph = {n: [m for m in nodes if m != n and rng.random() < 0.3] for n in nodes}
        part = components(graph)
        for one, other in itertools.combinations(nodes, 2):
            mutual = reaches(graph, one, other) and reaches(graph, other, one)
            assert (part[one] == part[other]) == mutual


def reaches(graph: dict[str, list[str]], start: str, goal: str) -> bool:
    seen, todo = {start}, [start]
    while todo:
        todo += [m for m in graph[todo.pop()] if m not in seen and not seen.add(m)]  # type: ignore[func-returns-value]
    return goal in seen
