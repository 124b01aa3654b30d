"""Tests the import of ranked images as clips of one frame."""

import json
from pathlib import Path

import pytest

from tests.preferences.conftest import Importer

IMAGES = [f"images/{number}.jpg" for number in range(3)]


@pytest.mark.parametrize(
    ("row", "verdicts"),
    [
        ({"human_preference": [0, 1], "file_path": IMAGES[:2]}, ["b"]),
        ({"rank": [2, 1, 2], "image_path": IMAGES}, ["b", "tie", "a"]),
    ],
    ids=["train", "test"],
)
def test_hpdv2_s_two_parts(
    importing: Importer, root: Path, row: dict[str, object], verdicts: list[str]
) -> None:
    # Its page says: 1 in `human_preference` for the preferred image; `rank` is an average.
    (root / "hpd.json").write_text(json.dumps([{"prompt": "A castle"} | row]))
    imported = importing("hpdv2", "hpd.json", images=True)
    assert [pair.verdict for pair in imported.labels.pairs] == verdicts


def test_imagereward_has_a_row_for_each_image(importing: Importer, root: Path) -> None:
    # Readers group its rows by `prompt_id`; the smaller `rank` is better.
    row = {"prompt_id": "p-1", "prompt": "A castle", "classification": "Arts"}
    rows = [row | {"image_path": IMAGES[n], "rank": 2 - n} for n in range(2)]
    rows.insert(1, row | {"prompt_id": "p-2", "image_path": IMAGES[2], "rank": 1})
    (root / "ir.json").write_text(json.dumps(rows))
    imported = importing("imagereward", "ir.json", images=True, lenient=True)
    assert [pair.verdict for pair in imported.labels.pairs] == ["b"]
    assert imported.report.refused.num == 1  # the caption with one image
