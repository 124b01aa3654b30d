"""Tests the import of pointwise data sets, field by field, each with its oddities."""

from collections.abc import Callable

import pytest

from dualipo.preferences import label_set
from dualipo.preferences.importers.row import Settings
from dualipo.records import Point
from tests.preferences.conftest import Importer

NameOf = Callable[[str], str]


def grades(points: tuple[Point, ...]) -> dict[str, str]:
    return {point.dimension: point.grade for point in points}


def test_trl_kto_and_diffusion_kto_are_good_or_bad_as_a_whole(
    importing: Importer, name_of: NameOf
) -> None:
    settings = Settings("human", "ann", "consistency")
    kto = importing("trl-kto", "trl-kto.jsonl", settings=settings).labels.points
    assert [(name_of(p.video), p.grade) for p in kto] == [("1_A", "good"), ("1_B", "bad")]
    assert {p.dimension for p in kto} == {"consistency"}
    points = importing("diffusion-kto", "diffusion-kto.csv").labels.points[2:]
    assert [(p.grade, p.dimension) for p in points] == [("good", "overall"), ("bad", "overall")]
    assert {(p.prompt, p.source) for p in points} == {("A castle", "human")}


def test_visionreward_grades_by_thirds_and_leaves_out_what_does_not_apply(
    importing: Importer, name_of: NameOf
) -> None:
    imported = importing("visionreward", "visionreward.jsonl")
    cat = tuple(p for p in imported.labels.points if p.prompt == "A cat.")
    # 3/4; the mean of 2/4, 2/4, 1/4 and 1/3; 3/3 alone.
    assert grades(cat) == {"consistency": "good", "faithfulness": "normal", "motion": "good"}
    assert {name_of(p.video) for p in cat} == {"1_A"}
    still = tuple(p for p in imported.labels.points if p not in cat)
    assert grades(still) == {"consistency": "bad", "faithfulness": "good"}
    assert imported.report.dropped.first == ["visionreward.jsonl:2: nothing to judge in motion"]
    assert imported.report.not_kept["url"] == 2 and imported.report.not_kept["meta_mask"] == 1


def test_videofeedback_has_names_with_spaces_and_frames_for_a_clip(importing: Importer) -> None:
    imported = importing("videofeedback", "videofeedback.json")
    people = tuple(p for p in imported.labels.points if p.source == "human")
    rule = tuple(p for p in imported.labels.points if p.source == "simulated")
    assert grades(people) == {"consistency": "bad", "faithfulness": "good", "motion": "normal"}
    assert set(grades(rule).values()) == {"good"}
    assert {p.prompt for p in people} == {"background winter fairy tale"}
    store = label_set.clip_store(imported.output)
    assert store.read(people[0].video).shape == (2, 12, 17, 3)
    assert imported.report.not_kept == {
        "video link": 1,
        "dynamic degree": 2,
        "factual consistency": 2,
        "conversations": 1,
    }


def test_lift_gives_a_grade_and_a_reason_a_question(importing: Importer, name_of: NameOf) -> None:
    points = importing("lift", "lift.json").labels.points
    assert [(p.dimension, p.grade, p.rationale) for p in points] == [
        ("consistency", "good", "Basically correct."),
        ("faithfulness", "bad", "The crane's eyes were not generated. Its beak is good."),
        ("motion", "normal", ""),
    ]
    assert {(p.prompt, name_of(p.video), p.source) for p in points} == {
        ("A crane stands in a wetland.", "1_A", "human")
    }


def test_what_lift_s_critic_wrote_is_the_critic_s(importing: Importer) -> None:
    points = importing("lift", "lift-critic.json").labels.points
    assert grades(points) == {"consistency": "bad", "faithfulness": "good", "motion": "normal"}
    assert {(p.source, p.annotator_or_critic_version) for p in points} == {
        ("critic", "LiFT-Critic")
    }
    assert points[0].rationale == "No spacesuit is seen."


@pytest.mark.parametrize("answer", ["Excellent. All fine.", "", "The video is Good."])
def test_an_answer_without_a_grade_is_no_grade(importing: Importer, root, answer: str) -> None:
    path = root / "lift.json"
    path.write_text(path.read_text().replace("Good. Basically correct.", answer))
    imported = importing("lift", "lift.json", lenient=True)
    assert len(imported.labels.points) == 2 and imported.report.refused.num == 1
