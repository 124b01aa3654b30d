"""Clips as MP4 files: written the same bytes each time, read under limits, stored by content.

Written: H.264, 4:4:4 at full range, lossless where its quantizer `qp` is 0: the only loss is the
rounding from RGB to YUV and back, at most 2 of 255 levels, 0.7 on average over uniform noise. Read:
the containers of `containers.py`, within its limits (fault 22), as a player shows them
(`showing.py`); a clip that is empty, cut short or damaged is a MediaError (fault 19, 20).

A garbled byte may still decode, to other pixels: `ClipStore.read` finds it by the hash.
Left out: sound, interlacing, and tone mapping. frames_FHWC: frames, height, width, RGB.
"""

import hashlib
import shutil
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from av.video.reformatter import ColorRange

from dualipo.errors import MediaError
from dualipo.store import atomic, containers, showing, video
from dualipo.store.containers import LIMITS, Header, Limits, Opened
from dualipo.store.showing import EDITED, NO_ALPHA, RETIMED, SHORTER, Picture, Timing
from dualipo.store.video import Encoding, Frames


@dataclass(frozen=True)
class Shown:
    """A clip as a player shows it, at a constant rate; `corrections` names what was corrected."""

    frames_FHWC: Frames
    fps: float
    corrections: tuple[str, ...] = ()


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
                containers.refuse(source, "its content is not what its name says")

    def path(self, sha256: str) -> Path:
        """Return the file of the clip with that hash."""
        return self.folder / sha256[:2] / f"{sha256}.mp4"

    def read(self, sha256: str) -> Frames:
        """Read a clip after checking that its content is the one that was stored."""
        return self.show(sha256).frames_FHWC

    def show(self, sha256: str) -> Shown:
        """Return a checked clip's frames with their rate."""
        return read_shown(self._checked(sha256))

    def examine(self, sha256: str) -> Header:
        """Decode a checked clip and keep no frame; return what a player shows of it."""
        return examine(self._checked(sha256))[0]

    def _checked(self, sha256: str) -> Path:
        path = self.path(sha256)
        if path.is_file() and atomic.sha256_file(path) != sha256:
            raise MediaError(f"{path}: its content is not what its name says. Restore the file.")
        return path


def encode_clip(frames_FHWC: Frames, fps: float, *, qp: int = 0) -> bytes:
    """Return the MP4 file of a clip as it is stored.

    x264 gets a quantizer and not a rate factor, with which the same clip now and then becomes other
    bytes.
    """
    encoding = Encoding({"qp": str(qp)}, "yuv444p", ColorRange.JPEG)
    return video.encode(frames_FHWC, fps, encoding)


def probe(path: Path, *, limits: Limits = LIMITS) -> Header:
    """Read a clip's header and check it against `limits`; nothing is decoded."""
    with containers.opened(path, limits) as clip:
        return clip.header


def read_clip(path: Path, *, limits: Limits = LIMITS) -> Frames:
    """Decode all frames of a clip to RGB, as a player shows them."""
    return read_shown(path, limits=limits).frames_FHWC


def read_shown(path: Path, *, limits: Limits = LIMITS) -> Shown:
    """Decode a clip as a player shows it: frames at a constant rate, and that rate."""
    frames: list[Frames] = []
    with containers.opened(path, limits) as clip:
        played = _play(clip, keep=frames)
    places = played.timing.places
    return Shown(np.stack([frames[place] for place in places]), played.timing.fps, played.named)


def examine(
    path: Path, *, limits: Limits = LIMITS, name: Path | None = None
) -> tuple[Header, tuple[str, ...]]:
    """Decode a clip and keep no frame; return what a player shows of it, and the corrections.

    A clip that cannot be decoded whole is a MediaError, which calls the file `name`.
    """
    with containers.opened(path, limits, name=name) as clip:
        played = _play(clip, keep=None)
        header = replace(
            clip.header,
            num_frames=len(played.timing.places),
            height=played.height,
            width=played.width,
            fps=played.timing.fps,
        )
    return header, played.named


@dataclass(frozen=True)
class _Played:
    timing: Timing
    height: int
    width: int
    named: tuple[str, ...]


def _play(clip: Opened, *, keep: list[Frames] | None) -> _Played:
    """Decode every frame; with `keep`, append each one as it is shown."""
    picture = Picture(float(clip.track.sample_aspect_ratio or 1))
    starts: list[float | None] = []
    last_seconds, shape = 0.0, (0, 0)
    for frame in containers.decoded(clip):
        starts.append(frame.time)
        last_seconds = float((frame.duration or 0) * (frame.time_base or 0))
        containers.check(clip, picture.size_of(frame), num_frames=len(starts))
        if keep is not None or not shape[0]:
            pixels_HWC = picture.rgb(frame)
            shape = pixels_HWC.shape[:2]
            if keep is not None:
                keep.append(pixels_HWC)
    max_num = showing.max_ticks(*shape, clip.limits, num_frames=len(starts))
    ticks = showing.timing(starts, last_seconds, declared_fps=clip.header.fps, max_num=max_num)
    seconds = len(ticks.places) / ticks.fps if ticks.fps else 0.0
    happened = {
        RETIMED: not ticks.is_constant,
        EDITED: clip.is_edited(len(starts)),
        SHORTER: clip.is_shorter(len(starts), seconds),
        NO_ALPHA: clip.track.metadata.get("alpha_mode") == "1",
    }
    corrections = picture.corrections | {name for name, is_so in happened.items() if is_so}
    return _Played(ticks, *shape, tuple(sorted(corrections)))
