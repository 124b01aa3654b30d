"""`dualipo import` and `dualipo export` as a user types them."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from dualipo.cli import exporting, importing
from dualipo.preferences.exporters import export
from dualipo.preferences.importers import formats
from tests.cli.conftest import Ended
from tests.video_files import write_clip

FIXTURES = Path(__file__).parents[1] / "preferences" / "fixtures"
Dualipo = Callable[..., Ended]


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    """VideoAlign's CSV and its four clips."""
    shutil.copy(FIXTURES / "videoalign.csv", tmp_path)
    for shade, name in enumerate(("1_A", "1_B", "2_A", "2_B")):
        frames = np.full((4, 16, 16, 3), 40 * shade, np.uint8)
        write_clip(tmp_path / "videos" / f"{name}.mp4", frames, 8)
    return tmp_path


def test_the_parser_knows_every_format() -> None:
    assert tuple(formats.FORMATS) == importing.FORMATS
    assert tuple(export.FORMATS) == exporting.FORMATS


@pytest.mark.slow
def test_labels_go_in_and_out(dualipo: Dualipo, dataset: Path) -> None:
    command = ["import", "videoalign", "videoalign.csv", "--output", "labels"]
    dry = dualipo(*command, "--dry-run")
    assert dry.returncode == 0, dry.stderr
    assert "would take: 6 pairs and 0 points, 4 new clips" in dry.stdout
    assert "videoalign.csv:4: MQ is `invalid`" in dry.stdout
    assert "not used (rows): A_model (2), B_model (2), MOS_A_VQ (1), fps_A (2)" in dry.stdout
    assert not (dataset / "labels").exists()
    taken = dualipo(*command)
    assert taken.returncode == 0, taken.stderr
    assert 'seed_labels.path = "labels"' in taken.stdout
    out = dualipo("export", "videofolder", "labels", "out", "--link")
    assert out.returncode == 0, out.stderr
    assert "written: 6 labels\n" in out.stdout and "dropped" not in out.stdout
    again = dualipo("import", "videofolder", "out", "--output", "labels")
    assert again.returncode == 0, again.stderr
    assert "0 pairs and 0 points, 0 new clips; 6 labels are there already" in again.stdout
    assert (dataset / "out/pairs/metadata.jsonl").is_file()


@pytest.mark.slow
def test_a_row_that_does_not_fit_ends_the_command(dualipo: Dualipo, dataset: Path) -> None:
    (dataset / "videos/2_B.mp4").unlink()
    ended = dualipo("import", "videoalign", "videoalign.csv", "--output", "labels")
    assert ended.returncode == 2 and "Traceback" not in ended.stderr
    assert "videoalign.csv:4: The clip './videos/2_B.mp4' does not exist." in ended.stderr
    assert "Nothing was imported: 1 rows do not fit." in ended.stderr
    assert not (dataset / "labels").exists()
    dry = dualipo("import", "videoalign", "videoalign.csv", "--output", "labels", "--dry-run")
    assert dry.returncode == 2 and "would take: 4 pairs" in dry.stdout
    assert "Nothing was imported: 1 rows do not fit." in dry.stderr
    again = dualipo("export", "trl", "labels", "out")
    assert again.returncode == 2 and "labels: this is no label set" in again.stderr


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["export", "trl", "labels", "out", "--names", "peft"], "--names: it has no effect on trl"),
        (["export", "lora", "run", "out", "--link"], "--link: it has no effect on lora"),
        (["export", "pipeline", "run", "out", "--original"], "--original: it has no effect on"),
        (
            ["import", "videoalign", "videoalign.csv", "--output", "labels", "--words", "x=a"],
            "--words: videoalign knows what its words mean",
        ),
        (
            ["import", "table", "videoalign.csv", "--output", "labels", "--source", "human"],
            "--map caption=prompt,a=path_A,b=path_B,verdict=VQ",
        ),
    ],
    ids=lambda value: " ".join(value[:2]) if isinstance(value, list) else "",
)
def test_an_option_without_effect_or_a_map_is_named(
    dualipo: Dualipo, dataset: Path, words: list[str], said: str
) -> None:
    ended = dualipo(*words)
    assert ended.returncode == 2 and said in ended.stderr, ended.stderr
    assert "Traceback" not in ended.stderr


def test_the_table_after_an_import(dualipo: Dualipo, dataset: Path) -> None:
    shutil.copy(dataset / "videos/1_A.mp4", dataset / "videos/2_A.mp4")
    taken = dualipo("import", "videoalign", "videoalign.csv", "--output", "labels")
    assert taken.returncode == 0, taken.stderr
    table = [line.strip() for line in taken.stdout.splitlines()]
    for line in (
        "labels in the files: 6 about 2 captions",
        "consistency   b 1, tie 1",
        "motion        tie 1",
        "whose: human videoalign (6)",
        "clips: 3",
        "size    16x16 (3)",
        "frames  4 (3)",
        "fps     8 (3)",
        "duplicates: 1 paths name a clip that another names",
    ):
        assert line in table, taken.stdout
    assert "a warm start would refuse this set: human seed: too small or one-sided" in taken.stdout
