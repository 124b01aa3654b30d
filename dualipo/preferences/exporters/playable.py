"""Makes clips that every browser, phone and trainer plays: H.264, 4:2:0, at x264's CRF 12.

Stored clips are lossless 4:4:4, which Safari and phones do not decode. The stored clip stays as it
is; what leaves is encoded anew, unless it is such a stream already and needs no correction (not
every trainer turns a clip upright). A side of odd length gets its last row or column once more,
because 4:2:0 needs even sides.
"""

from pathlib import Path

import numpy as np
from av.video.reformatter import ColorRange

from dualipo.store import video
from dualipo.store.clips import probe, read_shown
from dualipo.store.video import Encoding

PLAYABLE = "mp4 h264 yuv420p"
_ENCODING = Encoding({"crf": "12"}, "yuv420p", ColorRange.MPEG)


def playable_mp4(path: Path) -> bytes | None:
    """Return the clip as an MP4 file that plays everywhere; None where it is one already."""
    encoding = probe(path).encoding
    shown = read_shown(path)
    if encoding == PLAYABLE and not shown.corrections:
        return None
    height, width = shown.frames_FHWC.shape[1:3]
    edges = ((0, 0), (0, height % 2), (0, width % 2), (0, 0))
    padded_FHWC = np.pad(shown.frames_FHWC, edges, mode="edge")
    return video.encode(padded_FHWC, shown.fps or 8.0, _ENCODING)
