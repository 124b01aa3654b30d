"""Makes clips that every browser, phone and trainer plays: H.264, 4:2:0, at x264's CRF 12.

Stored clips are lossless 4:4:4, which Safari and phones do not decode. The stored clip stays as it
is; what leaves is encoded anew, unless it is such a stream already and needs no correction (not
every trainer turns a clip upright). A side of odd length gets its last row or column once more,
because 4:2:0 needs even sides. frames_FHWC: frames, height, width, RGB.
"""

from pathlib import Path

import numpy as np
from av.video.reformatter import ColorRange

from dualipo.store import video
from dualipo.store.clips import probe, read_shown
from dualipo.store.video import Encoding, Frames

PLAYABLE = "mp4 h264 yuv420p"
_ENCODING = Encoding({"crf": "12"}, "yuv420p", ColorRange.MPEG)
# A key frame every 8 frames, so that a page can go back by single frames.
_ON_A_PAGE = Encoding({"crf": "12", "g": "8", "preset": "veryfast"}, "yuv420p", ColorRange.MPEG)
_MIN_SIDE_ON_A_PAGE = 128


def playable_mp4(path: Path) -> bytes | None:
    """Return the clip as an MP4 file that plays everywhere; None where it is one already."""
    encoding = probe(path).encoding
    shown = read_shown(path)
    if encoding == PLAYABLE and not shown.corrections:
        return None
    return video.encode(even_sides(shown.frames_FHWC), shown.fps or 8.0, _ENCODING)


def shown_mp4(path: Path) -> bytes:
    """Return the clip as people are shown it beside another one.

    Every clip is encoded anew, so that no file says by its encoder or its fields who made it.
    """
    shown = read_shown(path)
    frames_FHWC = even_sides(shown.frames_FHWC, min_side=_MIN_SIDE_ON_A_PAGE)
    return video.encode(frames_FHWC, shown.fps or 8.0, _ON_A_PAGE)


def even_sides(frames_FHWC: Frames, *, min_side: int = 1) -> Frames:
    """Return frames with even sides; a small clip is enlarged by whole pixels to about `min_side`.

    Enlarged, it loses nothing when the resolution of its colours is halved.
    """
    factor = max(-(-min_side // max(frames_FHWC.shape[1:3])), 1)
    frames_FHWC = frames_FHWC.repeat(factor, axis=1).repeat(factor, axis=2)
    height, width = frames_FHWC.shape[1:3]
    edges = ((0, 0), (0, height % 2), (0, width % 2), (0, 0))
    return np.pad(frames_FHWC, edges, mode="edge")
