"""Fixtures: a folder with a data set of every format, and the clips and images that they share."""

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dualipo.preferences import label_set
from dualipo.preferences.importers.load import Options, import_labels
from dualipo.preferences.importers.report import Report
from dualipo.preferences.importers.row import Settings
from dualipo.preferences.label_set import LabelSet
from dualipo.records import Pair, Point
from dualipo.store import atomic
from tests.video_files import write_clip

FIXTURES = Path(__file__).with_name("fixtures")
CLIPS = ("1_A", "1_B", "2_A", "2_B")
FRAMES = ("6000151_00", "6000151_01", "r003263_00", "r003263_01")


@dataclass(frozen=True)
class Imported:
    report: Report
    labels: LabelSet
    output: Path


Importer = Callable[..., Imported]


@pytest.fixture(scope="session")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make the folder once for all tests, which never write to it."""
    folder = tmp_path_factory.mktemp("data") / "set"
    shutil.copytree(FIXTURES, folder)
    for shade, name in enumerate(CLIPS):
        frames = np.full((4, 16, 16, 3), 40 * shade, np.uint8)
        write_clip(folder / "videos" / f"{name}.mp4", frames, 8)
    (folder / "images").mkdir()
    for shade, name in enumerate((*FRAMES, *(f"images/{n}" for n in range(3)))):
        Image.new("RGB", (17, 12), (30 * shade,) * 3).save(folder / f"{name}.jpg")
    return folder


@pytest.fixture
def root(dataset: Path, tmp_path: Path) -> Path:
    """Copy the folder for a test that changes it."""
    return shutil.copytree(dataset, tmp_path / "set")


@pytest.fixture
def importing(root: Path, tmp_path: Path) -> Importer:
    """Return a function that imports a file of `root` into a label set."""

    def run(
        format_name: str,
        name: str,
        *,
        settings: Settings | None = None,
        output: Path = tmp_path / "labels",
        **options: object,
    ) -> Imported:
        chosen = Options(settings=settings or Settings(), **options)  # type: ignore[arg-type]
        report = import_labels(format_name, [root / name], root=root, output=output, options=chosen)
        labels = LabelSet() if chosen.dry_run else label_set.read(output)
        return Imported(report, labels, output)

    return run


@pytest.fixture
def name_of(root: Path) -> Callable[[str], str]:
    """Return a function that names a clip by its hash."""
    names = {atomic.sha256_file(path): path.stem for path in (root / "videos").iterdir()}
    return lambda sha256: names.get(sha256, "another")


def tree(folder: Path) -> dict[str, str]:
    """Return the hash of every file below the folder."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {str(path.relative_to(folder)): atomic.sha256_file(path) for path in files}


def pair(number: int, verdict: str = "a", clips: str = "ab", **rest: object) -> Pair:
    """Make a pair of one caption; `clips` names A and B by a letter each."""
    fields: dict[str, object] = {"dimension": "motion", "source": "human"} | rest
    named = {"video_a": clips[0] * 64, "video_b": clips[1] * 64, "verdict": verdict}
    values: dict[str, object] = {"annotator_or_critic_version": f"ann{number}"} | named | fields
    return Pair(pair_id=f"pair{number}", prompt_id="p", prompt="a cat", **values)  # type: ignore[arg-type]


def point(number: int, grade: str = "good", clip: str = "a", **rest: object) -> Point:
    """Make a point of the same caption."""
    fields: dict[str, object] = {"dimension": "motion", "source": "human"} | rest
    values: dict[str, object] = {"video": clip * 64, "grade": grade} | fields
    return Point(  # type: ignore[arg-type]
        point_id=f"point{number}",
        prompt_id="p",
        prompt="a cat",
        annotator_or_critic_version=f"ann{number}",
        **values,
    )
