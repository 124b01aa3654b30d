"""Frames as a player shows them: upright, with square pixels, opaque, and at a constant rate.

    decoded frame -> square pixels -> RGB, laid on white where transparent -> turned upright
    all frames and their time stamps -> the same frames, or one for each tick of a constant rate

A clip of constant rate keeps every frame as it is: that is one whose frames all lie within a
quarter of an interval of their places. In any other, each tick gets the frame that is on show then;
the ticks are as far apart as its closest frames. What was corrected is named, for the report of an
import.
frames_FHWC: frames, height, width, RGB.
"""

import math
import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from av.video.reformatter import Colorspace

from dualipo.store.containers import Limits
from dualipo.store.video import Frames

TURNED = "turned upright"
SQUARED = "stretched to square pixels"
RETIMED = "resampled to a constant rate"
OPAQUE = "laid on white where transparent"
RESIZED = "scaled to the size of its first frame"
EDITED = "trimmed by its edit list"
SHORTER = "shorter than its header says"
ODD_ANGLE = "left as it is at an odd angle"
TONES = "read without tone mapping (HDR)"
INTERLACED = "read without deinterlacing"
NO_ALPHA = "read without its transparency"

_MAX_RATE = 60.0  # ticks a second: frames that are closer together are never seen
_MIN_TICKS, _TICKS_PER_FRAME = 256, 8  # a still of an hour need not become thousands of frames
_JITTER = 0.25  # intervals that a frame of a constant rate may be off its place
_TICK = 1e-6  # seconds that a sum of time stamps may be off
_HDR = {16, 18}  # transfer functions: PQ, HLG
_UNTOLD = 2  # the matrix of colours that a file does not name: a player guesses it by the size
_HIGH_DEFINITION = (577, 1280)  # the height or width from which on it guesses BT.709


@dataclass
class Picture:
    """Turns decoded frames into what a player shows; `corrections` fills as frames come.

    `pixel_ratio` is the width of a pixel by its height.
    """

    pixel_ratio: float
    corrections: set[str] = field(default_factory=set)
    _size: tuple[int, int] = (0, 0)  # height and width of the first frame, with square pixels

    def rgb(self, frame: Any) -> Frames:
        """Return one frame as it is shown."""
        if frame.color_trc in _HDR:
            self.corrections.add(TONES)
        if frame.interlaced_frame:
            self.corrections.add(INTERLACED)
        return np.ascontiguousarray(self._upright(frame, self._opaque(frame)))

    def size_of(self, frame: Any) -> tuple[int, int]:
        """Return the height and width in which a frame is stored, but with square pixels."""
        if not self._size[0]:
            self._size = _square(frame.height, frame.width, self.pixel_ratio)
            if self._size != (frame.height, frame.width):
                self.corrections.add(SQUARED)
        elif self._size != _square(frame.height, frame.width, self.pixel_ratio):
            self.corrections.add(RESIZED)
        return self._size

    def _opaque(self, frame: Any) -> Frames:
        height, width = self.size_of(frame)
        scale = {} if (height, width) == (frame.height, frame.width) else {
            "height": height, "width": width}  # fmt: skip
        has_alpha = any(component.is_alpha for component in frame.format.components)
        pixels: Frames = frame.reformat(
            format="rgba" if has_alpha else "rgb24",
            src_colorspace=_colours(frame),
            src_color_range=frame.color_range,
            threads=1,  # those of others do not survive a fork, and freeing them hangs there
            **scale,
        ).to_ndarray()
        return self.on_white(pixels) if has_alpha else pixels

    def on_white(self, pixels_HW4: Frames) -> Frames:
        """Return RGBA pixels as RGB on a white page."""
        alpha_HW1 = pixels_HW4[:, :, 3:].astype(np.uint16)
        if alpha_HW1.min(initial=255) == 255:
            return pixels_HW4[:, :, :3]
        self.corrections.add(OPAQUE)
        mixed_HW3 = pixels_HW4[:, :, :3] * alpha_HW1 + 255 * (255 - alpha_HW1)
        return ((mixed_HW3 + 127) // 255).astype(np.uint8)

    def _upright(self, frame: Any, pixels_HWC: Frames) -> Frames:
        """Turn and mirror a frame by its display matrix, whose first columns are (a b), (c d)."""
        matrix = frame.side_data.get("DISPLAYMATRIX")
        if matrix is None:
            return pixels_HWC
        a, b, _, c, d, *_ = struct.unpack("=9i", bytes(matrix)[:36])
        if max(abs(b), abs(c)) * 100 < min(abs(a), abs(d)):
            turned_HWC = pixels_HWC[:: -1 if d < 0 else 1, :: -1 if a < 0 else 1]
        elif max(abs(a), abs(d)) * 100 < min(abs(b), abs(c)):
            turned_HWC = pixels_HWC.swapaxes(0, 1)[:: -1 if b < 0 else 1, :: -1 if c < 0 else 1]
        else:
            self.corrections.update([ODD_ANGLE] if a or b or c or d else [])
            return pixels_HWC
        if not (a > 0 and d > 0):
            self.corrections.add(TURNED)
        return turned_HWC


def _colours(frame: Any) -> int:
    """Return the matrix by which a frame's colours are stored, as a player takes it."""
    is_large = frame.height >= _HIGH_DEFINITION[0] or frame.width >= _HIGH_DEFINITION[1]
    return int(Colorspace.ITU709 if frame.colorspace == _UNTOLD and is_large else frame.colorspace)


def _square(height: int, width: int, pixel_ratio: float) -> tuple[int, int]:
    """Return a size with square pixels: the side grows that has to."""
    if pixel_ratio > 1:
        return height, round(width * pixel_ratio)
    return (round(height / pixel_ratio) if pixel_ratio > 0 else height), width


@dataclass(frozen=True)
class Timing:
    """Which frame is on show at each tick of a constant rate, of `fps` ticks a second."""

    places: Sequence[int]
    fps: float
    is_constant: bool


def timing(
    starts: Sequence[float | None], last_seconds: float, *, declared_fps: float, max_num: int
) -> Timing:
    """Return the ticks of frames that start at these seconds; the last one stays `last_seconds`.

    A clip of constant rate keeps its frames, and its declared rate where that is within 1 % of the
    frames'. There are at most `max_num` ticks: where they would be more, they lie further apart.
    """
    every = range(len(starts))
    if any(start is None for start in starts) or len(starts) < 2:
        return Timing(every, declared_fps, is_constant=True)
    seconds_F = np.maximum.accumulate(np.array(starts, dtype=np.float64)) - float(starts[0] or 0)
    if seconds_F[-1] <= 0:
        return Timing(every, declared_fps, is_constant=True)
    fps = (len(starts) - 1) / float(seconds_F[-1])
    if np.abs(seconds_F * fps - np.arange(len(starts))).max() < _JITTER:
        agrees = abs(declared_fps - fps) < 0.01 * fps
        return Timing(every, declared_fps if agrees else fps, is_constant=True)
    gaps = np.diff(seconds_F)
    rate = min(1 / float(gaps[gaps > 0].min()), _MAX_RATE)
    whole = float(seconds_F[-1]) + (last_seconds if last_seconds > 0 else 1 / rate)
    num = max(1, min(round(whole * rate), max_num))
    rate = rate if num < max_num else num / whole
    ticks = np.arange(num) / rate
    places = np.searchsorted(seconds_F, ticks + _TICK, side="right") - 1
    return Timing(places.tolist(), round(rate, 6), is_constant=False)


def max_ticks(height: int, width: int, limits: Limits, *, num_frames: int) -> int:
    """Return how many ticks a clip of so many frames of this size may have."""
    within_bytes = math.floor(limits.max_bytes / (3 * height * width))
    wanted = max(_MIN_TICKS, _TICKS_PER_FRAME * num_frames)
    return max(num_frames, min(wanted, within_bytes, limits.max_frames))
