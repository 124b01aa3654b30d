"""Tests the import of Label Studio's annotations: their dimensions, ties and reasons."""

import json
from collections.abc import Callable
from pathlib import Path

from dualipo.preferences.importers.row import Settings
from tests.preferences.conftest import Importer


def test_annotations_become_pairs_and_predictions_do_not(
    importing: Importer, name_of: Callable[[str], str]
) -> None:
    imported = importing("label-studio", "label-studio.json")
    pairs = [
        (p.prompt, p.dimension, p.verdict, p.annotator_or_critic_version, p.rationale)
        for p in imported.labels.pairs
    ]
    assert pairs == [
        ("A cat.", "motion", "a", "4", "B jumps."),
        ("A cat.", "motion", "tie", "5", ""),
        ("A dog.", "consistency", "b", "4", ""),
        ("A dog.", "faithfulness", "a", "4", ""),
    ]
    first = imported.labels.pairs[0]
    assert (name_of(first.video_a), name_of(first.video_b), first.source) == ("1_A", "1_B", "human")
    assert imported.report.dropped.reasons == {"the annotation was cancelled": 1}
    assert imported.report.not_kept["predictions"] == 1


def test_a_field_of_the_task_that_is_not_known_is_listed(importing: Importer, root: Path) -> None:
    # Label Studio's tasks hold whatever their owner put in `data`.
    path = root / "label-studio.json"
    tasks = json.loads(path.read_text())
    tasks[0]["data"] |= {"model": "wan", "seed": 3}
    tasks[0] |= {"state": "done"}
    path.write_text(json.dumps(tasks))
    report = importing("label-studio", "label-studio.json").report
    assert report.num_pairs == 4
    assert {"data.model", "data.seed", "state"} <= report.not_kept.keys()


def test_other_names_of_data_are_mapped(importing: Importer, root: Path) -> None:
    path = root / "label-studio.json"
    names = {'"prompt"': '"what"', '"video_a"': '"left"', '"video_b"': '"right"'}
    names |= {'"video1"': '"left"', '"video2"': '"right"'}
    content = path.read_text()
    for old, new in names.items():
        content = content.replace(f"{old}:", f"{new}:")
    path.write_text(content)
    columns = {"caption": "what", "a": "left", "b": "right"}
    report = importing("label-studio", path.name, settings=Settings(columns=columns)).report
    assert (report.num_pairs, report.refused.num) == (4, 0)


def test_json_min_has_a_flat_row_for_each_annotation(
    importing: Importer, root: Path, name_of: Callable[[str], str]
) -> None:
    # The SDK's converter puts results beside the task's fields, by the control's name.
    row = {"id": 1, "prompt": "A cat.", "video_a": "videos/1_A.mp4", "video_b": "videos/1_B.mp4"}
    row |= {"annotator": 4, "annotation_id": 7, "lead_time": 2.5, "dimension": "motion"}
    rows = [
        row | {"pw": [{"selected": "right"}], "reason": "B is smooth.", "model": "wan"},
        row | {"tie": "tie", "annotator": 5},
    ]
    (root / "min.json").write_text(json.dumps(rows))
    imported = importing("label-studio", "min.json")
    assert [
        (p.dimension, p.verdict, p.annotator_or_critic_version, p.rationale)
        for p in imported.labels.pairs
    ] == [("motion", "b", "4", "B is smooth."), ("motion", "tie", "5", "")]
    assert name_of(imported.labels.pairs[0].video_b) == "1_B"
    assert imported.report.not_kept["data.model"] == 1


def test_a_side_and_a_tie_at_once_is_refused(importing: Importer, root: Path) -> None:
    path = root / "label-studio.json"
    tasks = json.loads(path.read_text())
    results = tasks[0]["annotations"]
    results[0]["result"] += results[1]["result"]
    path.write_text(json.dumps(tasks))
    imported = importing("label-studio", "label-studio.json", lenient=True)
    assert imported.report.refused.first == [
        "label-studio.json:1: The verdict in motion is both a and tie."
    ]
    assert {p.prompt for p in imported.labels.pairs} == {"A dog."}
