"""The choice of the frames that a critic sees: linspace(0, n-1, F), F <= `max_frames` (METHOD 3.5).

A clip with fewer than `max_frames` frames follows `critic.short_video` (fault 21): all its frames
are shown once ("use_all"), frames are repeated to make up the number ("repeat"), or the clip is
refused ("error").
"""

from typing import Literal

import numpy as np

from dualipo.errors import MediaError

ShortVideo = Literal["use_all", "repeat", "error"]


def choose(
    clip_FHWC: np.ndarray, *, max_frames: int, short_video: ShortVideo, clip_hash: str
) -> np.ndarray:
    """Return the chosen frames in order; no frame twice unless `short_video` is "repeat"."""
    num_frames = len(clip_FHWC)
    if num_frames == 0:
        raise MediaError(f"{clip_hash}: no frames. Leave this clip out, or make it again.")
    if num_frames < max_frames and short_video == "error":
        raise MediaError(
            f"{clip_hash}: {num_frames} frames, the critic needs {max_frames}. "
            'Set critic.short_video = "repeat" to accept it.'
        )
    count = max_frames if short_video == "repeat" else min(max_frames, num_frames)
    return clip_FHWC[np.linspace(0, num_frames - 1, count).round().astype(int)]
