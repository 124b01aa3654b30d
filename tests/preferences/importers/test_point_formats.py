"""Tests the import of pointwise data sets, field by field, each with its oddities."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

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


def test_diffusion_kto_s_script_reads_split_and_file_name(importing: Importer, root: Path) -> None:
    # The script joins `file_name` with the folder, and `split` is its label.
    #
    # Of its three words, `intersections` is dropped by the policy `gt_label_w_l`. A missing caption
    # is an empty one to it.
    #
    (root / "train_processed_v3.csv").write_text(
        "file_name,caption,split\n"
        "images/0.jpg,A castle,exclusive_win\n"
        "images/1.jpg,A castle,exclusive_lose\n"
        "images/2.jpg,A castle,intersections\n"
        "images/2.jpg,,exclusive_win\n"
    )
    imported = importing("diffusion-kto", "train_processed_v3.csv")
    assert [point.grade for point in imported.labels.points] == ["good", "bad"]
    assert [line.split(": ", 1)[1] for line in imported.report.dropped.first] == [
        "split is `intersections`: neither always better nor always worse",
        "no caption",
    ]


def test_visionreward_s_parts_regression_and_test_are_pairs(
    importing: Importer, root: Path, name_of: NameOf
) -> None:
    # The card names `video1_path`, `video2_path`, `standard_answer`, and not the answer's words.
    #
    # VideoScore2's evaluation compares it with `video1`, `video2` and `tie`: not the origin's code.
    row = {"internal_id": "t", "prompt": "A cat."}
    row |= {"video1_path": "videos/1_A.mp4", "video2_path": "videos/1_B.mp4"}
    rows = [row | {"standard_answer": word} for word in ("video1", "video2", "tie", "maybe")]
    (root / "test.json").write_text(json.dumps(rows))
    imported = importing("visionreward", "test.json", lenient=True)
    assert [pair.verdict for pair in imported.labels.pairs] == ["a", "b", "tie"]
    assert {(name_of(p.video_a), name_of(p.video_b)) for p in imported.labels.pairs} == {
        ("1_A", "1_B")
    }
    assert {pair.dimension for pair in imported.labels.pairs} == {"overall"}
    assert "`standard_answer` is 'maybe'" in imported.report.refused.first[0]


def test_videofeedback_s_frames_lie_in_a_folder_of_the_clip(
    importing: Importer, root: Path
) -> None:
    # The origin opens `<frames>/<id>/<name>` for each bare name in `images`.
    #
    # Ids of the part `annotated` may begin with a letter, and people graded them; in the part
    # `real` every grade is 4. The path of the file names the part; where it does not, the id and
    # the grades do.
    rows = json.loads((root / "videofeedback.json").read_text())
    for row in rows:
        folder = root / "images" / row["id"]
        folder.mkdir()
        for name in row["images"]:
            shutil.move(root / name, folder / name)
    letter = rows[1] | {"visual quality": 2}
    (root / "unnamed.json").write_text(json.dumps([rows[0], letter, rows[1]]))
    points = importing("videofeedback", "unnamed.json").labels.points
    assert [p.source for p in points] == ["human"] * 6 + ["simulated"] * 3
    for part, source in (("annotated", "human"), ("real", "simulated")):
        (root / f"data_{part}.json").write_text(json.dumps(rows))
        labelled = importing("videofeedback", f"data_{part}.json", output=root / part).labels.points
        assert {p.source for p in labelled} == {source}


def test_lift_s_real_clips_are_told_from_what_people_wrote(importing: Importer, root: Path) -> None:
    # VIDGEN's thousand rows have one answer, and the columns `video` and `conversations` only.
    (first, *_) = json.loads((root / "lift.json").read_text())
    asked = {"from": "human", "value": first["conversations"][0]["value"]}
    turns = [asked, {"from": "gpt", "value": "Good. There are no obvious problems."}]
    row = {"video": "videos/1_A.mp4", "conversations": turns}
    (root / "few.json").write_text(json.dumps([row] * 19))
    (root / "many.json").write_text(json.dumps([row] * 20))
    (root / "vidgen-data.json").write_text(json.dumps([row]))
    sources = {
        name: {
            p.source for p in importing("lift", f"{name}.json", output=root / name).labels.points
        }
        for name in ("few", "many", "vidgen-data", "lift")
    }
    assert sources == {
        "few": {"human"},
        "many": {"simulated"},
        "vidgen-data": {"simulated"},
        "lift": {"human"},
    }


@pytest.mark.parametrize(
    ("question", "dimension"),
    [
        ("Please evaluate the motion quality of this video.", "motion"),
        ("Identify any issues with the realism of the objects.", "faithfulness"),
        ("Please assess how well the video is aligned with the text.", "consistency"),
        ("Please describe the lighting.", None),
        ("Please judge fidelity and motion.", None),
    ],
)
def test_lift_s_questions_name_their_dimension_in_other_words(
    importing: Importer, root: Path, question: str, dimension: str | None
) -> None:
    turns = [
        {"from": "human", "value": f"<video>\nA crane in motion. {question} Be exact."},
        {"from": "gpt", "value": "Bad. It melts."},
    ]
    row = {"video": "videos/1_A.mp4", "conversations": turns}
    (root / "asked.json").write_text(json.dumps([row]))
    report = importing("lift", "asked.json", dry_run=True).report
    assert (report.num_points, report.refused.num) == ((1, 0) if dimension else (0, 1))
    if dimension:
        (crane,) = importing("lift", "asked.json").labels.points
        assert (crane.prompt, crane.dimension) == ("A crane in motion.", dimension)


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
