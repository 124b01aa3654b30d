"""Clips as data URIs that every browser plays, for a page that needs nothing beside it.

Stored clips are 4:4:4, which only some browsers decode. Here they become H.264 4:2:0; a
small clip is first enlarged by whole pixels, so that halving its colour resolution costs nothing,
and a large one is shrunk to what a page shows.

Left out: sound, and clips that cannot be read: the caller shows a gap. frames_FHWC as in
`store/clips.py`.
"""

import base64
import io
from fractions import Fraction
from typing import Any

import av
import numpy as np
from av.video.reformatter import ColorRange, Colorspace

from dualipo.errors import MediaError
from dualipo.store.clips import ClipStore, Frames, probe

_MIN_SIDE = 128  # a smaller clip is enlarged to about this
_MAX_SIDE = 480  # a larger one is shrunk to this
_QUALITY = "16"  # x264's constant rate factor: no visible loss
_BITEXACT = 0x0400  # AVFMT_FLAG_BITEXACT: the same clip gives the same page


def data_uri(clips: ClipStore, sha256: str) -> str | None:
    """The clip as `data:video/mp4;base64,...`; None if it is missing or damaged."""
    content = browser_mp4(clips, sha256)
    if content is None:
        return None
    return f"data:video/mp4;base64,{base64.b64encode(content).decode()}"


def browser_mp4(clips: ClipStore, sha256: str) -> bytes | None:
    """The clip as an MP4 that every browser plays; None if it is missing or damaged."""
    try:
        frames_FHWC = clips.read(sha256)
        fps = probe(clips.path(sha256)).fps
    except MediaError:
        return None
    return _encode(_enlarged(frames_FHWC), fps)


def _enlarged(frames_FHWC: Frames) -> Frames:
    factor = max(-(-_MIN_SIDE // max(frames_FHWC.shape[1:3])), 1)
    enlarged_FHWC = frames_FHWC.repeat(factor, axis=1).repeat(factor, axis=2)
    height, width = enlarged_FHWC.shape[1:3]
    # 4:2:0 wants even sides; the last row or column is doubled where they are odd.
    edges = ((0, 0), (0, height % 2), (0, width % 2), (0, 0))
    return np.pad(enlarged_FHWC, edges, mode="edge")


def _shown_size(height: int, width: int) -> tuple[int, int]:
    scale = min(_MAX_SIDE / max(height, width), 1.0)
    return round(height * scale / 2) * 2, round(width * scale / 2) * 2


def _encode(frames_FHWC: Frames, fps: float) -> bytes:
    sink = io.BytesIO()
    with av.open(sink, "w", format="mp4") as container:
        container.flags |= _BITEXACT
        rate = Fraction(fps).limit_denominator(1001)
        # A key frame every 8: the scrubber seeks quickly in all clips at once.
        options = {"crf": _QUALITY, "g": "8", "tune": "animation"}
        stream: Any = container.add_stream("libx264", rate=rate, options=options)
        stream.height, stream.width = _shown_size(*frames_FHWC.shape[1:3])
        stream.pix_fmt = "yuv420p"
        stream.codec_context.thread_count = 1
        stream.codec_context.color_range = ColorRange.MPEG
        stream.codec_context.colorspace = Colorspace.ITU709
        for frame_HWC in np.ascontiguousarray(frames_FHWC):
            frame = av.VideoFrame.from_ndarray(frame_HWC, format="rgb24").reformat(
                width=stream.width,
                height=stream.height,
                format="yuv420p",
                dst_colorspace=Colorspace.ITU709,
                dst_color_range=ColorRange.MPEG,
            )
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return sink.getvalue()
