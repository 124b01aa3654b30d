"""Tests the import of what trainers of generators read."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from dualipo.preferences.importers.row import Settings
from tests.preferences.conftest import Importer

NameOf = Callable[[str], str]


@pytest.mark.parametrize("suffix", ["csv", "jsonl"])
def test_a_table_of_chosen_and_rejected_paths(
    importing: Importer, root: Path, name_of: NameOf, suffix: str
) -> None:
    row = {"prompt": "A cat."}
    row |= {"chosen_video_path": "videos/1_A.mp4", "rejected_video_path": "videos/1_B.mp4"}
    text = json.dumps(row) if suffix == "jsonl" else f"{','.join(row)}\n{','.join(row.values())}"
    (root / f"pairs.{suffix}").write_text(text + "\n")
    (pair,) = importing(
        "chosen-rejected", f"pairs.{suffix}", settings=Settings("human")
    ).labels.pairs
    assert name_of({"a": pair.video_a, "b": pair.video_b}[pair.verdict]) == "1_A"
    assert pair.video_a < pair.video_b


def test_flow_factory_s_second_version(importing: Importer, root: Path, name_of: NameOf) -> None:
    # Its loader takes `schema_version` 2 only; media of the input condition what is made.
    chosen, rejected = (
        {"media": [{"type": "video", "path": f"videos/{name}.mp4", "fps": 8.0}]}
        for name in ("1_A", "1_B")
    )
    preference = {"type": "preference", "chosen": chosen, "rejected": rejected}
    row = {"schema_version": 2, "input": {"prompt": "A cat.", "media": []}}
    row |= {"supervision": preference, "metadata": {"source": "critic", "annotator": "c1"}}
    image = {"prompt": "A cat.", "media": [{"type": "image", "path": "images/0.jpg"}]}
    rows = [
        row,
        row | {"supervision": {"type": "demonstration", "target": chosen}},
        row | {"input": image},
        row | {"schema_version": 1},
    ]
    (root / "train.jsonl").write_text("".join(json.dumps(each) + "\n" for each in rows))
    imported = importing("flow-factory", "train.jsonl", lenient=True)
    (pair,) = imported.labels.pairs
    assert name_of({"a": pair.video_a, "b": pair.video_b}[pair.verdict]) == "1_A"
    assert (pair.source, pair.annotator_or_critic_version) == ("critic", "c1")
    assert imported.report.dropped.reasons == {
        "its supervision is a demonstration, not a preference": 1,
        "made from an image or a clip, not from text alone": 1,
    }
    assert imported.report.refused.first == ["train.jsonl:4: `schema_version` is 1, not 2."]
