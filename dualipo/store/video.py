"""The one H.264 encoder: frames to an MP4 file, the same bytes each time.

One thread encodes, since x264's output depends on their number, and one converts, since a fork
could not free the others; no dates and no version go into the container. `clips.py` sets how clips
are stored, `playable.py` how they leave and are shown to people,
`evaluation/report/browser_clips.py` how a report shows them.
frames_FHWC: frames, height, width, RGB.
"""

import io
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import av
import numpy as np
from av.video.reformatter import ColorRange, Colorspace

Frames = np.ndarray[Any, np.dtype[np.uint8]]

_SLOWEST = Fraction(1, 1001)  # frames a second
_BITEXACT = 0x0400  # AVFMT_FLAG_BITEXACT: no dates and no version in the container


@dataclass(frozen=True)
class Encoding:
    """The settings of H.264: x264's options, the pixel format and the range of its values."""

    options: Mapping[str, str]
    pixel_format: str
    color_range: ColorRange


def encode(
    frames_FHWC: Frames, fps: float, encoding: Encoding, *, size: tuple[int, int] | None = None
) -> bytes:
    """Return the MP4 file of a clip, scaled to `size` (height, width) where that is given."""
    assert frames_FHWC.dtype == np.uint8 and frames_FHWC.shape[3:] == (3,), frames_FHWC.shape
    sink = io.BytesIO()
    with av.open(sink, "w", format="mp4") as container:
        container.flags |= _BITEXACT
        rate = max(Fraction(fps).limit_denominator(1001), _SLOWEST)
        stream: Any = container.add_stream("libx264", rate=rate, options=dict(encoding.options))
        stream.height, stream.width = size or frames_FHWC.shape[1:3]
        stream.pix_fmt = encoding.pixel_format
        stream.codec_context.thread_count = 1
        stream.codec_context.color_range = encoding.color_range
        stream.codec_context.colorspace = Colorspace.ITU709
        for frame_HWC in np.ascontiguousarray(frames_FHWC):
            frame = av.VideoFrame.from_ndarray(frame_HWC, format="rgb24").reformat(
                width=stream.width,
                height=stream.height,
                format=encoding.pixel_format,
                dst_colorspace=Colorspace.ITU709,
                dst_color_range=encoding.color_range,
                threads=1,
            )
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return sink.getvalue()
