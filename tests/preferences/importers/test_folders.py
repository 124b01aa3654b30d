"""Tests the import of videofolders and of SimpleTuner's paired folders."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dualipo.errors import DataError
from dualipo.preferences.importers.row import Settings
from tests.preferences.conftest import Importer

NameOf = Callable[[str], str]


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet"])
def test_a_stranger_s_videofolder_in_each_kind_of_table(
    importing: Importer, root: Path, name_of: NameOf, suffix: str
) -> None:
    # `datasets` reads `file_name` and `*_file_name` from the table's folder.
    rows = [
        {"a_file_name": "1_A.mp4", "b_file_name": "1_B.mp4", "verdict": word, "text": "A cat."}
        for word in ("Right", "same")
    ]
    path = root / "videos" / f"metadata.{suffix}"
    if suffix == "csv":
        lines = [",".join(rows[0]), *(",".join(row.values()) for row in rows)]
        path.write_text("\n".join(lines) + "\n")
    elif suffix == "jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    else:
        pq.write_table(pa.Table.from_pylist(rows), path)
    settings = Settings("human", "ann", "motion")
    pairs = importing("videofolder", "videos", settings=settings).labels.pairs
    assert [(name_of(p.video_a), name_of(p.video_b), p.verdict) for p in pairs] == [
        ("1_A", "1_B", "b"),
        ("1_A", "1_B", "tie"),
    ]
    with pytest.raises(DataError, match=r"does not say who judged\. Give --source"):
        importing("videofolder", "videos")


def test_a_videofolder_of_graded_clips_needs_its_words_explained(
    importing: Importer, root: Path
) -> None:
    (root / "videos/metadata.csv").write_text(
        "file_name,caption,label\n1_A.mp4,A cat.,1\n1_B.mp4,A cat.,0\n"
    )
    with pytest.raises(DataError, match=r"`label` is '1', none of good.*--words"):
        importing("videofolder", "videos", settings=Settings("human"))
    explained = Settings("human", words={"1": "good", "0": "bad"})
    points = importing("videofolder", "videos", settings=explained).labels.points
    assert [point.grade for point in points] == ["good", "bad"]


def test_simpletuner_pairs_clips_of_one_name_in_two_folders(
    importing: Importer, root: Path, name_of: NameOf
) -> None:
    # Its guide pairs a `reference_strict` data set with its `source_dataset_id`.
    #
    # A caption stands in a text file beside the preferred clip; of several lines each is one.
    for folder, clip in (("win", "1_A"), ("lose", "1_B")):
        (root / folder).mkdir()
        shutil.copy(root / "videos" / f"{clip}.mp4", root / folder / "cat.mp4")
    (root / "win/cat.txt").write_text("A cat.\nA cat again.\n")
    listed = [
        {"id": "preferred", "dataset_type": "video", "instance_data_dir": "win"},
        {
            "id": "rejected",
            "dataset_type": "conditioning",
            "conditioning_type": "reference_strict",
            "instance_data_dir": "lose",
            "source_dataset_id": "preferred",
        },
        {"id": "text-embeds", "dataset_type": "text_embeds"},
    ]
    (root / "databackend.json").write_text(json.dumps(listed))
    imported = importing("simpletuner", "databackend.json", settings=Settings("human"))
    (pair,) = imported.labels.pairs
    winner = {"a": pair.video_a, "b": pair.video_b}[pair.verdict]
    assert (pair.prompt, name_of(winner)) == ("A cat.", "1_A")
    (root / "lose/cat.mp4").unlink()
    with pytest.raises(DataError, match=r"cat.mp4: .* holds no rejected clip of that name"):
        importing("simpletuner", "databackend.json", settings=Settings("human"))
