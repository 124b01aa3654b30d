"""An embedded clip keeps its frames and proportions, small or large, and damage gives nothing."""

import base64
from pathlib import Path

import numpy as np
import pytest

from dualipo.evaluation.report.browser_clips import data_uri
from dualipo.store.clips import ClipStore, probe, read_clip


def _stored(tmp_path: Path, *shape: int) -> tuple[ClipStore, str]:
    clips = ClipStore(tmp_path / "clips")
    frames_FHWC = np.zeros((*shape, 3), np.uint8)
    frames_FHWC[:, : shape[1] // 2] = (230, 30, 60)
    return clips, clips.put(frames_FHWC, 8)


def _embedded(tmp_path: Path, clips: ClipStore, sha256: str) -> Path:
    uri = data_uri(clips, sha256) or ""
    assert uri.startswith("data:video/mp4;base64,")
    path = tmp_path / "embedded.mp4"
    path.write_bytes(base64.b64decode(uri.partition(",")[2]))
    return path


@pytest.mark.parametrize(
    ("size", "shown"), [((32, 32), (128, 128)), ((33, 21), (132, 84)), ((480, 720), (320, 480))]
)
def test_a_clip_keeps_its_frames_colours_and_proportions(
    tmp_path: Path, size: tuple[int, int], shown: tuple[int, int]
) -> None:
    clips, sha256 = _stored(tmp_path, 5, *size)
    path = _embedded(tmp_path, clips, sha256)
    header = probe(path)
    assert (header.num_frames, header.height, header.width, header.fps) == (5, *shown, 8.0)
    pixels_FHWC = read_clip(path).astype(int)
    assert np.abs(pixels_FHWC[:, 5, 5] - (230, 30, 60)).max() <= 6
    assert pixels_FHWC[:, -5, 5].max() <= 6


def test_the_same_clip_gives_the_same_bytes(tmp_path: Path) -> None:
    clips, sha256 = _stored(tmp_path, 3, 16, 16)
    assert data_uri(clips, sha256) == data_uri(clips, sha256)


def test_a_missing_or_damaged_clip_gives_nothing(tmp_path: Path) -> None:
    clips, sha256 = _stored(tmp_path, 3, 16, 16)
    assert data_uri(clips, "0" * 64) is None
    clips.path(sha256).write_bytes(clips.path(sha256).read_bytes()[:-20])
    assert data_uri(clips, sha256) is None
