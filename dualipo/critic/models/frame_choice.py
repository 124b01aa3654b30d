"""Which frames of a clip the critic sees: linspace(0, n-1, F), F <= `max_frames` (METHOD.md 3.5).

A clip shorter than `max_frames` follows the configured policy (fault 21): all its frames once
("use_all"), repeated up to the number ("repeat"), or refused ("error").
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
