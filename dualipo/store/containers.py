"""Video files opened under limits: which containers are read, and what their headers declare.

A header is checked against the limits before a frame is decoded (fault 22), and is otherwise not
believed: `decoded` yields the frames that a player shows, with edit lists applied, and refuses a
file only where decoding errs, a frame is damaged, or bytes that the file's index names are not
there (faults 19, 20).
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

import av

from dualipo.errors import MediaError
from dualipo.store import file_kinds

# Not HLS, DASH or concat: those name other files and addresses to be fetched (fault 51).
_CONTAINERS = "mov,mp4,matroska,webm,avi,gif"
CONTAINERS_IN_WORDS = "MP4, MOV, Matroska, WebM, AVI and GIF"


class UnreadableClip(MediaError):
    """A clip that cannot be decoded, while every other clip can be used."""


@dataclass(frozen=True, slots=True)
class Limits:
    """The largest clip that is read; far above what generators make."""

    max_frames: int = 4096
    max_pixels: int = 2048 * 2048
    max_side: int = 16_384  # what H.264's encoder takes
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


@dataclass(frozen=True)
class Opened:
    """An open video file: its container, the track that a player shows, and its header."""

    path: Path
    container: Any
    track: Any
    header: Header
    limits: Limits

    @property
    def is_mp4(self) -> bool:
        """True for MP4 and MOV, whose index names every frame."""
        return "mp4" in self.container.format.name.split(",")

    def is_edited(self, num_frames: int) -> bool:
        """Tell whether an edit list shows fewer frames than the file holds."""
        return self.is_mp4 and num_frames < self.track.frames

    def is_shorter(self, num_frames: int, seconds: float) -> bool:
        """Tell whether fewer frames, or clearly fewer seconds, were read than are declared."""
        if self.is_mp4:  # its index was held to
            return False
        has_sound = bool(self.container.streams.audio)
        declared = 0.0 if has_sound else (self.container.duration or 0) / 1e6
        too_early = seconds < 0.9 * declared - 2 / (self.header.fps or 1)
        return num_frames < self.header.num_frames or too_early


@contextmanager
def opened(path: Path, limits: Limits, *, name: Path | None = None) -> Iterator[Opened]:
    """Open a clip and check its header; whatever FFmpeg refuses is an UnreadableClip.

    Errors call the file `name` where it lies elsewhere for the moment.
    """
    if not path.is_file():
        raise MediaError(f"{path}: no such clip. Check the path, or make the clip again.")
    name, num_bytes = name or path, path.stat().st_size
    if num_bytes == 0:
        refuse(name, "an empty file")
    _refuse_other_kinds(path, name)
    try:
        # An open file, not a name: FFmpeg takes some names for network addresses.
        with open(path, "rb") as stream, _container(stream) as container:
            track = _track(name, container)
            track.codec_context.options = {
                "max_pixels": str(limits.max_pixels),
                "err_detect": "explode",
            }
            track.codec_context.thread_count = 1
            header = _header(container, track, num_bytes)
            clip = Opened(name, container, track, header, limits)
            check(clip, (header.height, header.width), num_frames=header.num_frames)
            yield clip
    except (av.FFmpegError, ValueError) as broken:
        refuse(name, f"not readable ({getattr(broken, 'strerror', None) or broken})")


def decoded(clip: Opened) -> Iterator[Any]:
    """Yield the frames that a player shows, in their order; raise MediaError where one is bad."""
    num_packets = num_frames = 0
    for packet in clip.container.demux(clip.track):
        num_packets += packet.size > 0
        for frame in packet.decode():
            num_frames += 1
            if frame.is_corrupt:
                refuse(clip.path, f"frame {num_frames} is damaged")
            yield frame
    if not num_frames:
        refuse(clip.path, "no frame of it can be read")
    # FFmpeg ends without a word where a file was cut between two frames.
    if clip.is_mp4 and num_packets < (num_indexed := len(clip.track.index_entries)):
        refuse(clip.path, f"{num_packets} frames can be read of {num_indexed}: its end is missing")


def check(clip: Opened, size: tuple[int, int], *, num_frames: int) -> None:
    """Raise MediaError where so many frames of this height and width are over a limit."""
    num_pixels, limits = size[0] * size[1], clip.limits
    amounts = {
        "frames": (num_frames, limits.max_frames),
        "pixels a frame": (num_pixels, limits.max_pixels),
        "pixels a side": (max(size), limits.max_side),
        "bytes in its file": (clip.header.num_bytes, limits.max_bytes),
        "bytes once decoded": (3 * num_pixels * num_frames, limits.max_bytes),
    }
    for unit, (amount, limit) in amounts.items():
        if amount > limit:
            raise MediaError(
                f"{clip.path}: {amount} {unit}, the limit is {limit}. Cut or shrink the clip."
            )


def refuse(path: Path, fact: str) -> NoReturn:
    """Raise the error of a clip that cannot be decoded."""
    raise UnreadableClip(f"{path}: {fact}. Replace the clip, or take it off the list.") from None


def _refuse_other_kinds(path: Path, name: Path) -> None:
    kind = file_kinds.kind_of(path)
    if kind in file_kinds.NO_MEDIA:
        raise UnreadableClip(f"{name}: {kind}, and no clip. {file_kinds.NO_MEDIA[kind]}.")
    if kind in file_kinds.NOT_READ:
        raise MediaError(
            f"{name}: {kind} is not read as a clip. Convert it to one of {CONTAINERS_IN_WORDS}."
        )


def _container(stream: BinaryIO) -> Any:
    options = {"format_whitelist": _CONTAINERS}
    return av.open(stream, "r", container_options=options, io_open=_open_nothing)


def _track(path: Path, container: Any) -> Any:
    """Return the video track that a player shows: not a cover picture."""
    tracks = [
        track
        for track in container.streams.video
        if not track.disposition & av.stream.Disposition.attached_pic
    ]
    if not tracks:
        refuse(path, "no video in it")
    best = container.streams.best("video")
    return best if best in tracks else tracks[0]


def _header(container: Any, track: Any, num_bytes: int) -> Header:
    names = container.format.name.split(",")
    codec = track.codec_context
    encoding = f"{'mp4' if 'mp4' in names else names[0]} {codec.name} {codec.pix_fmt}"
    num_frames, fps = track.frames, float(track.average_rate or 0)
    if "mp4" in names:  # an edit list may show a second of an hour, and the index follows it
        num_indexed = sum(not entry.is_discard for entry in track.index_entries)
        num_frames = min(num_frames, num_indexed)
    return Header(num_frames, track.height or 0, track.width or 0, fps, num_bytes, encoding)


def _open_nothing(url: str, flags: int, options: dict[str, str]) -> NoReturn:
    raise ValueError(f"it asks for {url!r}, and nothing is ever fetched")
