"""The world's captioned clips: clean "real" ones, and a noisy "web" corpus.

Both are pure functions of a seed; nothing is stored. In the web corpus a quarter of the captions
are wrong in one attribute and half of the clips have a defect, so a generator pretrained on it
learns the faults with the rest.
"""

from dataclasses import dataclass

import numpy as np

from dualipo.seeds import derive
from dualipo.world.captions import speak
from dualipo.world.clips import render
from dualipo.world.scenes import Defect, Scene, alter, draw_defect, draw_scene

WRONG_CAPTION_SHARE = 0.25
DEFECT_SHARE = 0.5


@dataclass(frozen=True, slots=True)
class CaptionedClip:
    """A clip with its caption and its ground truth; `frames_FHW3` is uint8."""

    frames_FHW3: np.ndarray
    caption: str
    shown: Scene
    defect: Defect | None


def real_clip(seed: int, *, num_frames: int = 9) -> CaptionedClip:
    """Draw a clean clip with a true caption."""
    rng = np.random.default_rng(derive("real", seed))
    scene = draw_scene(rng)
    frames_FHW3 = render(scene, rng, num_frames=num_frames)
    return CaptionedClip(frames_FHW3, speak(scene, rng), scene, None)


def web_clip(seed: int, *, num_frames: int = 9) -> CaptionedClip:
    """Draw a noisy clip: half of them have a defect, a quarter a wrong caption."""
    rng = np.random.default_rng(derive("web", seed))
    scene = draw_scene(rng)
    defect = draw_defect(rng, scene) if rng.random() < DEFECT_SHARE else None
    wrong = bool(rng.random() < WRONG_CAPTION_SHARE)
    frames_FHW3 = render(scene, rng, num_frames=num_frames, defect=defect)
    caption = speak(alter(rng, scene) if wrong else scene, rng)
    return CaptionedClip(frames_FHW3, caption, scene, defect)


def caption(seed: int) -> str:
    """Draw a caption without its clip, for prompt lists."""
    rng = np.random.default_rng(derive("caption", seed))
    return speak(draw_scene(rng), rng)
