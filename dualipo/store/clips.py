"""Clips as MP4 files: written the same bytes each time, read under limits, stored by content.

Written: H.264, 4:4:4 at full range, lossless where its quantizer `qp` is 0: the only loss is the
rounding from RGB to YUV and back, at most 2 of 255 levels, 0.7 on average over uniform noise. Read:
any usual container, after its header was checked against the limits (fault 22); a clip that is
empty, cut short or damaged is a MediaError (fault 19, 20).

A garbled byte may still decode, to other pixels: `ClipStore.read` finds it by the hash.
Left out: sound, rotation flags, and resampling in time. frames_FHWC: frames, height, width, RGB.
"""

import hashlib
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

import av
import numpy as np
from av.video.reformatter import ColorRange

from dualipo.errors import MediaError
from dualipo.store import atomic, video
from dualipo.store.video import Encoding, Frames

# Not HLS, DASH or concat: those name other files and addresses to be fetched (fault 51).
_CONTAINERS = "mov,mp4,matroska,webm,avi"


@dataclass(frozen=True, slots=True)
class Limits:
    """The largest clip that is read; far above what generators make."""

    max_frames: int = 4096
    max_pixels: int = 2048 * 2048
    max_bytes: int = 2 << 30


LIMITS = Limits()


@dataclass(frozen=True, slots=True)
class Header:
    """What a clip's file declares; `num_frames` is 0 where its container does not say.

    `encoding` names the container, the codec and the pixel format: "mp4 h264 yuv420p".
    """

    num_frames: int
    height: int
    width: int
    fps: float
    num_bytes: int
    encoding: str = ""


class ClipStore:
    """A folder of clips, each named by the sha256 of its file; `qp` is x264's quantizer."""

    def __init__(self, folder: Path, *, qp: int = 0) -> None:
        self.folder = folder
        self.qp = qp

    def put(self, frames_FHWC: Frames, fps: float) -> str:
        """Store a clip and return its sha256; leave one alone that is stored already."""
        content = encode_clip(frames_FHWC, fps, qp=self.qp)
        sha256 = hashlib.sha256(content).hexdigest()
        if not self.path(sha256).exists():
            atomic.write_bytes(self.path(sha256), content, name="clip")
        return sha256

    def add(self, source: Path, *, sha256: str) -> None:
        """Copy another store's clip; raise MediaError where its content has another hash."""
        if self.path(sha256).exists():
            return
        with atomic.publish(self.path(sha256), name="clip") as temporary:
            shutil.copyfile(source, temporary)
            if atomic.sha256_file(temporary) != sha256:
                _refuse(source, "its content is not what its name says")

    def path(self, sha256: str) -> Path:
        """Return the file of the clip with that hash."""
        return self.folder / sha256[:2] / f"{sha256}.mp4"

    def read(self, sha256: str) -> Frames:
        """Read a clip after checking that its content is the one that was stored."""
        path = self.path(sha256)
        if path.is_file() and atomic.sha256_file(path) != sha256:
            raise MediaError(f"{path}: its content is not what its name says. Restore the file.")
        return read_clip(path)


def encode_clip(frames_FHWC: Frames, fps: float, *, qp: int = 0) -> bytes:
    """Return the MP4 file of a clip as it is stored.

    x264 gets a quantizer and not a rate factor, with which the same clip now and then becomes other
    bytes.
    """
    encoding = Encoding({"qp": str(qp)}, "yuv444p", ColorRange.JPEG)
    return video.encode(frames_FHWC, fps, encoding)


def probe(path: Path, *, limits: Limits = LIMITS) -> Header:
    """Read a clip's header and check it against `limits`; nothing is decoded."""
    with _opened(path, limits) as (_, header):
        return header


def read_clip(path: Path, *, limits: Limits = LIMITS) -> Frames:
    """Decode all frames of a clip to RGB."""
    frames: list[Frames] = []
    with _opened(path, limits) as (container, header):
        for frame in container.decode(container.streams.video[0]):
            if (frame.height, frame.width) != (header.height, header.width):
                _refuse(path, f"a frame of {frame.width}x{frame.height} in another size's clip")
            if len(frames) == header.num_frames > 0:
                _refuse(path, f"more frames than the {header.num_frames} it declares")
            _check(path, header, limits, num_frames=len(frames) + 1)
            rgb = frame.reformat(
                format="rgb24", src_colorspace=frame.colorspace, src_color_range=frame.color_range
            )
            frames.append(rgb.to_ndarray())
    if not frames or len(frames) < header.num_frames:
        _refuse(
            path, f"{len(frames)} frames can be read of {header.num_frames or 'an unknown number'}"
        )
    return np.stack(frames)


@contextmanager
def _opened(path: Path, limits: Limits) -> Iterator[tuple[Any, Header]]:
    if not path.is_file():
        raise MediaError(f"{path}: no such clip. Check the path, or make the clip again.")
    num_bytes = path.stat().st_size
    if num_bytes == 0:
        _refuse(path, "an empty file")
    try:
        # An open file, not a name: FFmpeg takes some names for network addresses.
        with open(path, "rb") as stream, _container(stream, limits) as container:
            header = _header(path, container, num_bytes)
            _check(path, header, limits, num_frames=header.num_frames)
            yield container, header
    except (av.FFmpegError, ValueError) as broken:
        _refuse(path, f"not readable ({getattr(broken, 'strerror', None) or broken})")


def _container(stream: BinaryIO, limits: Limits) -> Any:
    options = {"format_whitelist": _CONTAINERS}
    guards = {"max_pixels": str(limits.max_pixels), "err_detect": "explode"}
    container = av.open(stream, "r", container_options=options, io_open=_open_nothing)
    for track in container.streams.video:
        track.codec_context.options = guards
        track.codec_context.thread_count = 1
    return container


def _header(path: Path, container: Any, num_bytes: int) -> Header:
    if not container.streams.video:
        _refuse(path, "no video in it")
    track = container.streams.video[0]
    fps = float(track.average_rate or 0)
    if not (track.width and track.height):
        _refuse(path, "no frames in it")
    names = container.format.name.split(",")
    codec = track.codec_context
    encoding = f"{'mp4' if 'mp4' in names else names[0]} {codec.name} {codec.pix_fmt}"
    return Header(track.frames, track.height, track.width, fps, num_bytes, encoding)


def _check(path: Path, header: Header, limits: Limits, *, num_frames: int) -> None:
    num_pixels = header.height * header.width
    sizes = {
        "frames": (num_frames, limits.max_frames),
        "pixels a frame": (num_pixels, limits.max_pixels),
        "bytes in its file": (header.num_bytes, limits.max_bytes),
        "bytes once decoded": (3 * num_pixels * num_frames, limits.max_bytes),
    }
    for unit, (size, limit) in sizes.items():
        if size > limit:
            raise MediaError(
                f"{path}: {size} {unit}, the limit is {limit}. Cut or shrink the clip."
            )


def _open_nothing(url: str, flags: int, options: dict[str, str]) -> NoReturn:
    raise ValueError(f"it asks for {url!r}, and nothing is ever fetched")


def _refuse(path: Path, fact: str) -> NoReturn:
    raise MediaError(f"{path}: {fact}. Replace the clip, or take it off the list.") from None
