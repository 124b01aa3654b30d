"""Clips as every browser plays them: as MP4 files, or inside a page as data URIs.

Stored clips are 4:4:4, which only some browsers decode. Here they become H.264 4:2:0; a
small clip is first enlarged by whole pixels, so that halving its colour resolution costs nothing,
and a large one is shrunk to what a page shows.

A clip that cannot be read gives None, and the page shows a gap. A clip that was lately encoded is
not encoded again: each round's report shows clips of the one before, and a dashboard serves a clip
as often as a page asks for it. Left out: sound. frames_FHWC: frames, height, width, RGB.
"""

import base64
import functools

from av.video.reformatter import ColorRange

from dualipo.errors import MediaError
from dualipo.store import video
from dualipo.store.byte_cache import ByteCache
from dualipo.store.clips import ClipStore, Shown
from dualipo.store.playable import even_sides
from dualipo.store.video import Encoding

_MIN_SIDE = 128  # a smaller clip is enlarged to about this
_MAX_SIDE = 480  # a larger one is shrunk to this
# No visible loss, and a key frame every 8 frames: the scrubber seeks quickly in all clips at once.
_OPTIONS = {"crf": "16", "g": "8", "tune": "animation"}
_ENCODING = Encoding(_OPTIONS, "yuv420p", ColorRange.MPEG)
_ENCODED: ByteCache[bytes] = ByteCache(max_bytes=64 << 20, size=len)  # by the clip's hash


def data_uri(clips: ClipStore, clip_hash: str) -> str | None:
    """Return a clip as `data:video/mp4;base64,...`, or None if it is missing or damaged."""
    content = browser_mp4(clips, clip_hash)
    if content is None:
        return None
    return f"data:video/mp4;base64,{base64.b64encode(content).decode()}"


def browser_mp4(clips: ClipStore, clip_hash: str) -> bytes | None:
    """Return a clip as an MP4 file for any browser, or None if it is missing or damaged."""
    try:
        shown = clips.show(clip_hash)
    except MediaError:
        return None
    return _ENCODED.recall(clip_hash, functools.partial(_encoded, shown))


def _encoded(shown: Shown) -> bytes:
    enlarged_FHWC = even_sides(shown.frames_FHWC, min_side=_MIN_SIDE)
    size = _shown_size(*enlarged_FHWC.shape[1:3])
    return video.encode(enlarged_FHWC, shown.fps, _ENCODING, size=size)


def _shown_size(height: int, width: int) -> tuple[int, int]:
    scale = min(_MAX_SIDE / max(height, width), 1.0)
    return round(height * scale / 2) * 2, round(width * scale / 2) * 2
