"""Video files for tests of what reads them."""

import hashlib
from pathlib import Path

from dualipo.store import clips
from dualipo.store.video import Frames


def write_clip(path: Path, frames_FHWC: Frames, fps: float) -> str:
    """Write a clip as a run stores it, and return its sha256."""
    content = clips.encode_clip(frames_FHWC, fps)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return hashlib.sha256(content).hexdigest()
