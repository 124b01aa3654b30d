"""The choice of the frames that a critic sees: linspace(0, n-1, F), F <= `max_frames` (METHOD 3.5).

A clip with fewer than `max_frames` frames follows `critic.short_video` (fault 21): all its frames
are shown once ("use_all"), frames are repeated to make up the number ("repeat"), or the clip is
refused ("error").
"""

from collections.abc import Callable
from typing import Literal

import numpy as np

from dualipo.config import Critic
from dualipo.critic.vlm import Query
from dualipo.errors import MediaError

FpsOf = Callable[[str], float | None]  # a clip's hash -> its frame rate, where that is known
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
    return clip_FHWC[places(num_frames, max_frames=max_frames, short_video=short_video)]


def places(num_frames: int, *, max_frames: int, short_video: ShortVideo) -> np.ndarray:
    """Return the numbers of the frames that are shown of a clip, from 0."""
    count = max_frames if short_video == "repeat" else min(max_frames, num_frames)
    return np.linspace(0, num_frames - 1, count).round().astype(int)


def unknown_fps(clip_hash: str) -> None:
    """Return no frame rate: what a critic knows of a clip's until its owner tells it."""


def heading(query: Query, clip: int, *, settings: Critic, fps_of: FpsOf = unknown_fps) -> str:
    """Return the line before a clip's frames, with what `critic.questions` tells of them.

    Of a clip whose rate is not known neither the rate nor the times are told.
    """
    name = f"Video {'AB'[clip]}" if query.kind == "pair" else "Video"
    tells, num_frames = settings.questions.tells, len(query.clips[clip])
    if not tells:
        return f"{name}:"
    fps = fps_of(query.clip_hashes[clip])
    shown = places(num_frames, max_frames=settings.max_frames, short_video=settings.short_video)
    facts = []
    if "frames" in tells:
        facts.append(f"{len(shown)} frames of {num_frames}")
    if "fps" in tells and fps:
        facts.append(f"{fps:g} frames a second")
    if "times" in tells and fps:
        facts.append(f"at {', '.join(f'{place / fps:.2f}' for place in shown)} s")
    return f"{name} ({', '.join(facts)}):" if facts else f"{name}:"
