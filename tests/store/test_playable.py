"""Tests how clips leave: as streams that every browser plays, without a trace of their maker."""

from pathlib import Path

import av
import numpy as np

from dualipo.store import video
from dualipo.store.clips import encode_clip, probe, read_clip
from dualipo.store.playable import PLAYABLE, playable_mp4, shown_mp4


def checks(side: int) -> video.Frames:
    """Make frames whose neighbouring pixels are red and blue, which 4:2:0 would mix."""
    is_red = (np.indices((side, side)).sum(0) % 2).astype(bool)
    frame_HWC = np.where(is_red[..., None], (255, 0, 0), (0, 0, 255)).astype(np.uint8)
    return np.stack([frame_HWC] * 5)


def test_a_small_clip_keeps_its_colours_on_a_page(tmp_path: Path) -> None:
    (tmp_path / "stored.mp4").write_bytes(encode_clip(checks(15), 8))
    (tmp_path / "shown.mp4").write_bytes(shown_mp4(tmp_path / "stored.mp4"))
    assert probe(tmp_path / "shown.mp4").encoding == PLAYABLE
    shown_FHWC = read_clip(tmp_path / "shown.mp4").astype(int)
    factor = shown_FHWC.shape[1] // 15
    middles = shown_FHWC[:, factor // 2 :: factor, factor // 2 :: factor][:, :15, :15]
    assert shown_FHWC.shape[:2] == (5, 136) and factor == 9
    assert np.abs(middles - checks(15)).mean() < 6


def test_fault_58_a_page_s_clip_says_nothing_of_its_maker(tmp_path: Path) -> None:
    with av.open(tmp_path / "made.mp4", "w") as container:
        container.metadata["comment"] = "made by g003.1"
        stream = container.add_stream("libx264", rate=8)
        stream.width = stream.height = 16
        stream.pix_fmt = "yuv420p"
        for frame_HWC in checks(16):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame_HWC, format="rgb24")))
        container.mux(stream.encode())
    assert b"g003.1" in (tmp_path / "made.mp4").read_bytes()
    assert b"g003.1" not in shown_mp4(tmp_path / "made.mp4")
    assert playable_mp4(tmp_path / "made.mp4") is None, "an export copies what plays already"
