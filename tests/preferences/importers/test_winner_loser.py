"""A folder with winner/ and loser/, and the guess of a format by what a file looks like."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from dualipo.errors import ConfigError, DataError
from dualipo.preferences import label_set
from dualipo.preferences.importers import guess
from dualipo.preferences.importers.load import Options, import_labels
from dualipo.preferences.importers.row import Settings
from tests.preferences.conftest import FIXTURES
from tests.video_files import write_clip


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    names = ("winner/cat", "winner/dog_winner", "winner/bird", "loser/cat", "loser/dog_loser")
    for shade, name in enumerate((*names, "loser/bird")):
        frames_FHWC = np.full((2, 16, 16, 3), 40 * shade, np.uint8)
        write_clip(tmp_path / "set" / f"{name}.mp4", frames_FHWC, 8.0)
    (tmp_path / "set" / "winner" / "cat.txt").write_text("A cat\nsits.")
    (tmp_path / "set" / "captions").mkdir()
    (tmp_path / "set" / "captions" / "dog.txt").write_text("A dog.")
    (tmp_path / "set" / "captions.csv").write_text("name,caption\nbird.mp4,A bird.\n")
    return tmp_path / "set"


def imported(folder: Path) -> label_set.LabelSet:
    output = folder.parent / "labels"
    options = Options(Settings("human"))
    import_labels("winner-loser", [folder], root=folder, output=output, options=options)
    return label_set.read(output)


def test_clips_of_one_name_are_pairs_with_captions_from_any_place(folder: Path) -> None:
    assert guess.format_of(folder) == "winner-loser"
    labels = imported(folder)
    assert {pair.prompt for pair in labels.pairs} == {"A cat sits.", "A dog.", "A bird."}
    assert len(labels.pairs) == 3 and all(pair.verdict in ("a", "b") for pair in labels.pairs)


def test_a_clip_without_a_partner_or_a_caption_is_refused_by_name(folder: Path) -> None:
    (folder / "loser" / "bird.mp4").unlink()
    (folder / "winner" / "cat.txt").unlink()
    with pytest.raises(DataError, match=r"bird: loser/ holds no clip(.|\n)*cat: no caption"):
        imported(folder)


@pytest.mark.parametrize(
    ("name", "form"),
    [
        *(("videoalign.csv", "videoalign"), ("trl.jsonl", "trl"), ("trl-kto.jsonl", "trl-kto")),
        *(("diffusion-kto.csv", "diffusion-kto"), ("visionreward.jsonl", "visionreward")),
        ("videofeedback.json", "videofeedback"),
    ],
)
def test_a_format_is_told_by_its_columns(name: str, form: str) -> None:
    assert guess.format_of(FIXTURES / name) == form


def test_columns_that_fit_nothing_are_shown(tmp_path: Path) -> None:
    shutil.copy(FIXTURES / "trl.jsonl", tmp_path / "x.jsonl")
    (tmp_path / "x.jsonl").write_text('{"left": "a.mp4", "right": "b.mp4"}\n')
    with pytest.raises(ConfigError, match=r"\(left, right\) fit no known format.*--format"):
        guess.format_of(tmp_path / "x.jsonl")
    assert guess.format_of(tmp_path / "x.jsonl", is_mapped=True) == "table"
