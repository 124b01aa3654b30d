"""The words in which people are asked: everyday ones, unless a run's set means something else."""

import pytest

from dualipo.config import WORLD
from dualipo.config.questions import Questions, read, shipped
from dualipo.records import DIMENSIONS
from dualipo.web import questions

VIDEO = shipped("video")


@pytest.mark.parametrize("kind", ["pair", "point"])
@pytest.mark.parametrize("dimension", [*DIMENSIONS, "overall"])
@pytest.mark.parametrize("shipped_set", [WORLD, VIDEO], ids=["world", "video"])
def test_the_sets_that_ship_are_asked_in_everyday_words(kind, dimension, shipped_set) -> None:
    asked = questions.question(kind, dimension, shipped_set)
    assert asked["text"] == (questions.PAIR if kind == "pair" else questions.POINT)[dimension][0]


def test_a_set_that_means_something_else_by_a_name_is_asked_in_its_own_words() -> None:
    more_is_better = {"name": "motion", "definition": "More trembling is better."}
    own: Questions = read({**VIDEO.leaf(), "name": "mine", "dimensions": [more_is_better]})
    asked = questions.question("pair", "motion", own)
    assert asked == {"text": "Which clip is better: motion?", "hint": "More trembling is better."}
    assert questions.question("pair", "overall", own)["text"] == questions.PAIR["overall"][0]
