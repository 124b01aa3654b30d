"""Tests the import of Label Studio's annotations: their dimensions, ties and reasons."""

import json
from collections.abc import Callable
from pathlib import Path

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
