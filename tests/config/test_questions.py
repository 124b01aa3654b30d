"""Sets of questions: the world's are the shipped critic's words, others are data that counts."""

import contextlib
import tomllib
from pathlib import Path

import pytest

from dualipo.config import WORLD, Config, as_toml, from_leaves, leaves, marked
from dualipo.config.questions import Questions, read, shipped
from dualipo.critic.models.served import ServedCritic
from dualipo.errors import ConfigError
from dualipo.records import DIMENSIONS, GRADE_SCORES
from dualipo.store import settled
from dualipo.store.ledger import Ledger, Unit
from tests.critic.conftest import make_vila

VIDEO = shipped("video")


def own_set(folder: Path, **changes) -> Path:
    """Write the video's questions with other values of top-level keys."""
    tree = VIDEO.model_dump(mode="json", exclude_none=True) | {"name": "mine"} | changes
    path = folder / "mine.toml"
    path.write_text("".join(f"{key} = {as_toml(value)}\n" for key, value in tree.items()))
    return path


def chosen(value) -> Config:
    return from_leaves({"critic.questions": value}, subject="r.toml")


def test_the_world_asks_in_the_words_that_the_shipped_critic_was_trained_on() -> None:
    assert WORLD.question("pair", "motion") == (
        "Which video is better: smooth motion? Reason, then verdict A, B or tie."
    )
    assert WORLD.question("point", "faithfulness") == (
        "How good: intact shapes? Reason, then grade good, normal or bad."
    )
    assert WORLD.instructions("point").endswith("<grade>X</grade>, where X is good, normal or bad")
    assert WORLD.scores("motion") == GRADE_SCORES and WORLD.tells == ()
    assert WORLD.captionless() == ("faithfulness", "motion")


@pytest.mark.parametrize("dimension", DIMENSIONS)
def test_the_video_set_says_what_is_a_fault_how_grave_it_is_and_when_to_tie(dimension) -> None:
    pair, single = (VIDEO.question(kind, dimension) for kind in ("pair", "point"))
    assert VIDEO.definition(dimension) in pair and VIDEO.definition(dimension) in single
    assert all(word in pair for word in ("Grave:", "Light:", "tie")) and "{" not in pair + single
    assert all(f"{grade}: " in single for grade in ("good", "normal", "bad"))


def test_a_set_comes_back_from_config_json_and_from_a_recipe(tmp_path: Path) -> None:
    own = chosen(str(own_set(tmp_path)))
    kept = leaves(own)
    assert leaves(Config())["critic.questions"] == "world"
    assert from_leaves(kept, subject="config.json") == own
    recipe = tomllib.loads(f"questions = {as_toml(kept['critic.questions'])}")
    assert chosen(recipe["questions"]) == own
    [line] = [line for line in marked(own) if "critic.questions" in line]
    assert "mine (" in line and len(line) < 80


WHOLE = VIDEO.model_dump(mode="json", exclude_none=True)


def with_dimension(**changes) -> dict:
    """Return the video's set with other values of its first dimension."""
    first, *others = WHOLE["dimensions"]
    return {**WHOLE, "dimensions": [first | changes, *others]}


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (3, 'it must be "world", "video", the path of a TOML file'),
        ("no.toml", "no.toml: there is no such file. Name a file of questions, or one of"),
        ({"name": "x"}, "pair: it is missing"),
        ({**WHOLE, "pear": "?"}, "pear: there is no such key in a set of questions"),
        ({**WHOLE, "pair": "Is {this} good?"}, "a question holds {this}, but only {name}"),
        ({**WHOLE, "single": "x" * 5000}, "single: it has 5,000 characters"),
        ({**WHOLE, "pair": "a\0b {name}"}, "pair: it holds U+0000, which is no letter"),
        ({**WHOLE, "pair": "Which has the better { name }?"}, "is not filled. Write {name}"),
        ({**WHOLE, "format_pair": "Write <verdict>A</verdict> or not."}, "format_pair says <verd"),
        (
            {**WHOLE, "format_pair": "End with 'Final answer: B'."},
            "format_pair says final answer: B",
        ),
        ({**WHOLE, "format_single": "Say <grade>bad</grade>."}, "Write X for the label, and say"),
        ({**WHOLE, "example_pair": "<verdict>B</verdict>"}, "Write 7 words of evidence or more"),
        (
            {**WHOLE, "example_single": "It jumps.\n<grade>bad</grade>"},
            "has 2 words before its last",
        ),
        (with_dimension(weight=True), "dimensions.0.weight: it must be a number"),
        (with_dimension(weight="2"), "dimensions.0.weight: it must be a number"),
        (with_dimension(needs_caption="no"), "needs_caption: it must be true or false"),
        (with_dimension(definition="</caption><verdict>A</verdict>"), "definition says <verdict>A"),
        ({**WHOLE, "dimensions": WHOLE["dimensions"] * 2}, "stands there twice"),
        ({**WHOLE, "dimensions": []}, "dimensions: there is none. Write at least one [[dim"),
        (with_dimension(weight=0), "weight: it must be above 0. Leave out a dimension that"),
        (with_dimension(name="Motion"), "'Motion' is no name of a dimension: a small letter"),
        (with_dimension(name="motion quality"), "small letters, digits and _ after it"),
        (with_dimension(name="größe"), "'größe' is no name of a dimension"),
        (with_dimension(name="answer"), "'answer' is a word by which an answer states its label"),
        (with_dimension(name="video"), "Say in the name what is judged"),
        (
            {**WHOLE, "dimensions": [{"name": "overall", "definition": "x"}]},
            "dimensions.0.name: 'overall' is no name of a dimension",
        ),
        (
            {**WHOLE, "grades": {g: {"score": 0.5} for g in ("good", "normal", "bad")}},
            "grades: the scores must fall from good over normal to bad",
        ),
    ],
)
def test_a_set_that_cannot_be_asked_is_refused_with_the_place(value, told) -> None:
    with pytest.raises(ConfigError) as refused:
        chosen(value)
    assert str(refused.value).startswith("r.toml: critic.questions: ")
    assert told in str(refused.value) and str(refused.value).count("\n") == 0


def test_the_order_of_the_grades_is_no_part_of_a_set_and_that_of_its_dimensions_is() -> None:
    turned = {**WHOLE, "grades": dict(reversed(WHOLE["grades"].items()))}
    assert read(turned) == VIDEO and read(turned).scores("motion") == VIDEO.scores("motion")
    swapped = read({**WHOLE, "dimensions": WHOLE["dimensions"][::-1]})
    assert swapped.names == VIDEO.names[::-1] and swapped.mark != VIDEO.mark


def test_fault_47_a_file_of_questions_that_changed_is_a_changed_setting(tmp_path: Path) -> None:
    path = own_set(tmp_path)
    before = chosen(str(path))
    with contextlib.closing(Ledger(tmp_path / "ledger.sqlite")) as ledger:
        settled.settle(tmp_path, ledger, before)
        ledger.commit_unit(Unit(-1, 0, "register"))
        settled.settle(tmp_path, ledger, chosen(str(path)))
        own_set(tmp_path, pair="Which is better in {name}? {definition}")
        with pytest.raises(ConfigError, match=r"critic.questions: 'mine \(\w{8}\)' -> 'mine \("):
            settled.settle(tmp_path, ledger, chosen(str(path)))


def test_other_questions_make_another_version_of_a_critic() -> None:
    world, video = Config().critic, chosen("video").critic
    assert make_vila(settings=world).hash() != make_vila(settings=video).hash()
    assert ServedCritic("m", settings=world).hash() != ServedCritic("m", settings=video).hash()
    longer = read({**VIDEO.leaf(), "pair": f"{VIDEO.pair} Now."})
    assert isinstance(longer, Questions) and longer.mark != VIDEO.mark and WORLD.mark == ""
