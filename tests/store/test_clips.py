"""Clips: near-exact and deterministic when written, distrusted when read."""

import hashlib
import socket
import struct
from pathlib import Path

import av
import numpy as np
import pytest

from dualipo.errors import MediaError
from dualipo.store.clips import ClipStore, encode_clip, probe, read_clip
from dualipo.store.containers import Limits
from tests.video_files import write_clip


@pytest.fixture
def frames_FHWC() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (9, 33, 31, 3), dtype=np.uint8)


def test_a_clip_comes_back_within_two_levels(tmp_path: Path, frames_FHWC) -> None:
    path = tmp_path / "clip.mp4"
    sha256 = write_clip(path, frames_FHWC, 7.5)
    error = np.abs(read_clip(path).astype(int) - frames_FHWC)
    assert error.max() <= 2 and error.mean() < 0.75
    header = probe(path)
    assert (header.num_frames, header.height, header.width, header.fps) == (9, 33, 31, 7.5)
    assert write_clip(tmp_path / "again.mp4", frames_FHWC, 7.5) == sha256


def test_a_quantizer_trades_size_for_loss(tmp_path: Path) -> None:
    ramp = np.linspace(0, 255, 64 * 64).reshape(1, 64, 64, 1) + np.arange(9).reshape(9, 1, 1, 1)
    noise = np.random.default_rng(0).normal(0, 4, (9, 64, 64, 3))
    frames_FHWC = (ramp + noise).clip(0, 255).astype(np.uint8)
    errors, sizes = [], []
    for qp in (0, 12, 30):
        store = ClipStore(tmp_path / f"{qp}", qp=qp)
        sha256 = store.put(frames_FHWC, 8)
        assert store.put(frames_FHWC, 8) == sha256
        errors.append(np.abs(store.read(sha256).astype(int) - frames_FHWC).mean())
        sizes.append(store.path(sha256).stat().st_size)
    assert errors == sorted(errors) and errors[0] < 0.75 < errors[2]
    assert sizes == sorted(sizes, reverse=True) and sizes[0] > 10 * sizes[2]


def test_black_white_and_grey_are_exact(tmp_path: Path) -> None:
    levels = np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1)
    write_clip(tmp_path / "clip.mp4", np.tile(levels, (2, 1, 1, 3)), 8)
    assert np.array_equal(read_clip(tmp_path / "clip.mp4")[1, :, :, 0], levels[0, :, :, 0])


def test_the_store_names_clips_by_content(tmp_path: Path, frames_FHWC) -> None:
    store = ClipStore(tmp_path)
    sha256 = store.put(frames_FHWC, 8)
    assert store.put(frames_FHWC, 8) == sha256
    content = store.path(sha256).read_bytes()
    assert store.path(sha256) == tmp_path / sha256[:2] / f"{sha256}.mp4"
    assert hashlib.sha256(content).hexdigest() == sha256
    assert store.read(sha256).shape == frames_FHWC.shape


def test_fault_19_a_garbled_clip_is_refused(tmp_path: Path, frames_FHWC) -> None:
    store, rng = ClipStore(tmp_path), np.random.default_rng(1)
    sha256 = store.put(frames_FHWC, 8)
    path = store.path(sha256)
    content = path.read_bytes()
    for cut in (10, 100, len(content) // 2, len(content) - 100):
        path.write_bytes(content[:cut])
        with pytest.raises(MediaError, match=r"mp4: not readable.*Replace the clip"):
            read_clip(path)
    for _ in range(10):
        start = int(rng.integers(0, len(content) - 8))
        path.write_bytes(content[:start] + rng.bytes(8) + content[start + 8 :])
        with pytest.raises(MediaError, match="not what its name says"):
            store.read(sha256)
    with pytest.raises(MediaError, match="no such clip"):
        read_clip(tmp_path / "other.mp4")


def test_fault_20_an_empty_clip_is_refused(tmp_path: Path, frames_FHWC) -> None:
    path = tmp_path / "clip.mp4"
    path.write_bytes(b"")
    with pytest.raises(MediaError, match="an empty file"):
        read_clip(path)
    path.write_bytes(encode_clip(frames_FHWC[:0], 8))
    with pytest.raises(MediaError):
        read_clip(path)


@pytest.mark.slow
def test_fault_22_a_bomb_is_refused_by_its_header(tmp_path: Path, frames_FHWC, monkeypatch) -> None:
    path = tmp_path / "clip.mp4"
    write_clip(path, np.zeros((1, 4096, 2048, 3), np.uint8), 8)
    assert path.stat().st_size < 10_000
    for limits, fact in (
        (Limits(), "8388608 pixels a frame"),
        (Limits(max_pixels=2**24, max_bytes=2**20), "25165824 bytes once decoded"),
        (Limits(max_pixels=2**24, max_bytes=100), "bytes in its file"),
    ):
        for read in (read_clip, probe):
            with pytest.raises(MediaError, match=fact):
                read(path, limits=limits)
    content = encode_clip(frames_FHWC, 8)
    with pytest.raises(MediaError, match="9 frames, the limit is 8"):
        path.write_bytes(content)
        read_clip(path, limits=Limits(max_frames=8))
    # A forged table of samples: ten million of one byte each.
    at = content.index(b"stsz") + 8
    path.write_bytes(content[:at] + struct.pack(">II", 1, 10**7) + content[at + 8 :])
    with pytest.raises(MediaError):
        read_clip(path)


def test_fault_22_the_limits_hold_for_every_frame_where_no_header_counts_them(
    tmp_path: Path, frames_FHWC
) -> None:
    """Read a Matroska file, which does not say how many frames it has: only decoding tells."""
    path = tmp_path / "clip.mkv"
    with av.open(path, "w", format="matroska") as container:
        stream = container.add_stream("libx264", rate=8)
        stream.height, stream.width, stream.pix_fmt = 32, 32, "yuv420p"
        for frame_HWC in frames_FHWC[:, :32, :31].repeat(2, axis=2)[:, :, :32]:
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame_HWC), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    assert probe(path).num_frames == 0 and len(read_clip(path)) == 9
    for limits, fact in (
        (Limits(max_frames=8), "9 frames, the limit is 8"),
        (Limits(max_bytes=8 * 3 * 32 * 32), f"{9 * 3 * 32 * 32} bytes once decoded"),
    ):
        with pytest.raises(MediaError, match=fact):
            read_clip(path, limits=limits)


def test_fault_51_a_playlist_in_disguise_fetches_nothing(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.2)
        address = f"http://127.0.0.1:{server.getsockname()[1]}/part.ts"
        path = tmp_path / "clip.mp4"
        for text in (
            f"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n{address}\n#EXT-X-ENDLIST\n",
            f"ffconcat version 1.0\nfile {address}\n",
        ):
            path.write_text(text)
            with pytest.raises(MediaError, match="not readable"):
                read_clip(path)
        with pytest.raises(TimeoutError):
            server.accept()
