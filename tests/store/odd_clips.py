"""Odd clips, made by code: each is a few kilobytes, and its right value is known by how it is made.

A frame is of one grey level, which rises with its number; its top left corner is white and its top
right corner black, so that a picture tells how it was turned. `Making` are the knobs of a file;
`edit`, `cut` and the like change its bytes afterwards.
"""

import io
import struct
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

CORNER = 8
HEIGHT, WIDTH = 32, 48
NUM = 12
RATE = 12


Track = tuple[Any, list[Any]]  # a stream, and its frames


@dataclass(frozen=True, kw_only=True)
class Making:
    """The knobs of a clip; `stamps` are times in milliseconds, at a constant rate without them."""

    container: str = "mp4"
    codec: str = "libx264"
    num: int = NUM
    rate: Fraction | int = RATE
    size: tuple[int, int] = (HEIGHT, WIDTH)
    pixels: str = "yuv420p"
    stamps: Sequence[int] | None = None
    pixel_ratio: Fraction | None = None
    matrix: tuple[int, int, int, int] | None = None
    flags: str = ""
    options: dict[str, str] = field(default_factory=lambda: {"crf": "6", "bf": "0"})
    extra: str = ""  # one of _TRACKS


def level(number: int, num: int = NUM) -> int:
    """Return the grey of a frame."""
    return 30 + 180 * number // num


def picture(number: int, num: int, size: tuple[int, int]) -> np.ndarray:
    """Return the pixels of a frame."""
    pixels = np.full((*size, 3), level(number, num), np.uint8)
    pixels[:CORNER, :CORNER] = 255
    pixels[:CORNER, -CORNER:] = 0
    return pixels


def make(**knobs: Any) -> bytes:
    """Return the bytes of a clip."""
    making = Making(**knobs)
    options = {"movflags": making.flags} if making.flags else {}
    with tempfile.NamedTemporaryFile() as sink:  # FFmpeg moves an index to the front in a file only
        with av.open(sink.name, "w", format=making.container, options=options) as container:
            tracks = [track(container, making) for track in _TRACKS[making.extra]]
            for stream, frames in tracks:
                for frame in [*frames, None]:
                    container.mux(stream.encode(frame))
        return Path(sink.name).read_bytes()


def _video(container: Any, making: Making) -> Track:
    stream = container.add_stream(making.codec, rate=making.rate, options=making.options)
    stream.height, stream.width = making.size
    stream.pix_fmt = making.pixels
    stream.codec_context.thread_count = 1
    if making.pixel_ratio:
        stream.codec_context.sample_aspect_ratio = making.pixel_ratio
    if making.matrix:
        a, b, c, d = (1 << 16) * np.array(making.matrix)
        stream.set_display_matrix([a, b, 0, c, d, 0, 0, 0, 1 << 30])
    if making.stamps is not None:
        stream.codec_context.time_base = Fraction(1, 1000)
    return stream, [_frame(making, number) for number in range(making.num)]


def _frame(making: Making, number: int) -> av.VideoFrame:
    pixels = picture(number, making.num, making.size)
    frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
    if making.stamps is not None:
        frame.pts, frame.time_base = making.stamps[number], Fraction(1, 1000)
    return frame


def _audio(container: Any, _: Making) -> Track:
    stream = container.add_stream("aac", rate=16000, layout="mono")
    silence = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
    silence.sample_rate = 16000
    return stream, [silence] * 60  # almost four seconds


def _cover(container: Any, _: Making) -> Track:
    stream = container.add_stream("mjpeg", rate=1)
    stream.height, stream.width, stream.pix_fmt = 64, 64, "yuvj420p"
    stream.disposition = av.stream.Disposition.attached_pic
    frame = av.VideoFrame.from_ndarray(np.full((64, 64, 3), 9, np.uint8), format="rgb24")
    frame.pts, frame.time_base = 0, Fraction(1, 1)
    return stream, [frame]


_TRACKS: dict[str, tuple[Callable[[Any, Making], Track], ...]] = {
    "": (_video,),
    "audio": (_audio, _video),
    "audio only": (_audio,),
    "cover first": (_cover, _video),
    "cover only": (_cover,),
}


def cut(content: bytes, share: float) -> bytes:
    """Return the beginning of a file."""
    return content[: int(share * len(content))]


def edit(content: bytes, *, seconds: float, first: int, rate: int = RATE) -> bytes:
    """Return an MP4 whose edit list shows `seconds` from its frame `first` on; -1 shows nothing."""
    at = content.index(b"elst") + 12
    timescale = struct.unpack(">I", content[content.index(b"mdhd") + 16 :][:4])[0]
    media_time = -1 if first < 0 else first * timescale // rate
    return content[:at] + struct.pack(">Ii", round(seconds * 1000), media_time) + content[at + 8 :]


def patch(content: bytes, box: bytes, offset: int, replacement: bytes) -> bytes:
    """Return a file with other bytes at `offset` behind the first `box`'s name."""
    at = content.index(box) + len(box) + offset
    return content[:at] + replacement + content[at + len(replacement) :]


def garbled(content: bytes, seed: int = 0) -> bytes:
    """Return an MP4 with noise in place of its last frames."""
    end = content.index(b"moov") - 4
    noise = np.random.default_rng(seed).bytes(150)
    return content[: end - 150] + noise + content[end:]


def gif(levels: Sequence[int], delays: Sequence[int], **options: Any) -> bytes:
    """Return a GIF of one grey a frame; delays are in milliseconds."""
    from PIL import Image

    pages = [Image.fromarray(np.full((24, 40, 3), grey, np.uint8)) for grey in levels]
    sink = io.BytesIO()
    pages[0].save(
        sink, "GIF", save_all=True, append_images=pages[1:], duration=list(delays), **options
    )
    return sink.getvalue()
