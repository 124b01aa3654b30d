"""Images as clips: read as a viewer shows them, turned upright, opaque, and in their own time.

Read are JPEG, PNG, WebP and BMP, told by their content. An animated PNG or WebP becomes a clip at a
constant rate, any other image a clip of one frame. Left out: further pages, and colour profiles of
images that are not RGB. frames_FHWC: frames, height, width, RGB.
"""

import io
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageCms, ImageOps, ImageSequence, UnidentifiedImageError

from dualipo.preferences.importers.row import Unfit
from dualipo.store import file_kinds, showing
from dualipo.store.clips import Shown
from dualipo.store.containers import LIMITS
from dualipo.store.video import Frames

FRAMES_PER_SECOND = 8.0  # the rate of VideoFeedback's frames; a clip of one image needs none
KINDS_IN_WORDS = "JPEG, PNG, WebP or BMP"

_KINDS = (*file_kinds.IMAGES, "GIF")  # a GIF file is read as a clip; one in a table, here
_FORMATS = tuple(kind.upper() for kind in _KINDS)
_ANIMATED = ("PNG", "WEBP", "GIF")
_QUICKEST, _USUAL = 0.011, 0.1  # seconds: viewers show a picture with less for as long as this
_ORIENTATION = 0x0112  # the EXIF tag; 1 is upright
_BROKEN = (OSError, ValueError, SyntaxError, EOFError, Image.DecompressionBombError)

PROFILED = "converted to sRGB from its colour profile"
DEEP = "16 bits a channel reduced to 8"


def read(source: Path | io.BytesIO, name: str) -> Shown:
    """Read an image; raise Unfit where it is none, another kind, or too large."""
    kind = _kind_of(source)
    if kind in file_kinds.NO_MEDIA:
        raise Unfit(f"{name}: {kind}, and no image. {file_kinds.NO_MEDIA[kind]}.")
    if kind not in ("", *_KINDS):
        raise Unfit(f"{name}: {kind} is not read as an image. Save it as {KINDS_IN_WORDS}.")
    try:
        with Image.open(source, formats=_FORMATS) as image:
            _check(image, name)
            return _shown(image)
    except Unfit:
        raise
    except _BROKEN as error:
        # Pillow's own words for an unknown kind name an object in memory.
        fact = "its kind is unknown" if isinstance(error, UnidentifiedImageError) else error
        raise Unfit(
            f"{name}: it is not a readable image ({fact}). Save it as {KINDS_IN_WORDS}."
        ) from None


def _kind_of(source: Path | io.BytesIO) -> str:
    if isinstance(source, Path):
        return file_kinds.kind_of(source)
    return file_kinds.kind_of_bytes(source.getvalue())


def _check(image: Any, name: str) -> None:
    """Raise Unfit where an image would decode to more than a clip may."""
    if (num_pixels := image.width * image.height) > LIMITS.max_pixels:
        raise Unfit(
            f"{name}: it has {image.width}x{image.height} pixels, but the limit is "
            f"{LIMITS.max_pixels}. Make it smaller."
        )
    if (longest := max(image.size)) > LIMITS.max_side:
        raise Unfit(
            f"{name}: a side of it has {longest} pixels, but the limit is {LIMITS.max_side}. Make "
            "it smaller."
        )
    num_frames = _num_frames(image)
    if num_frames > min(LIMITS.max_frames, LIMITS.max_bytes / (3 * num_pixels)):
        raise Unfit(f"{name}: {num_frames} frames are too many for its size. Cut it.")


def _num_frames(image: Any) -> int:
    """Return how many frames move; a JPEG's further pictures are another view of the same."""
    return getattr(image, "n_frames", 1) if image.format in _ANIMATED else 1


def _shown(image: Any) -> Shown:
    corrections: set[str] = set()
    if _num_frames(image) == 1:
        frame_HW3 = _frame(image, corrections)
        return Shown(frame_HW3[None], FRAMES_PER_SECOND, tuple(sorted(corrections)))
    pages = ImageSequence.Iterator(image)
    frames, seconds = [], []
    for number, page in enumerate(pages):
        if number or not image.info.get("default_image"):  # a still for viewers that cannot move
            frames.append(_frame(page, corrections))
            shown_for = page.info.get("duration", 0) / 1000
            seconds.append(shown_for if shown_for >= _QUICKEST else _USUAL)
    starts = [sum(seconds[:n]) for n in range(len(seconds))]
    height, width = frames[0].shape[:2]
    max_num = showing.max_ticks(height, width, LIMITS, num_frames=len(frames))
    ticks = showing.timing(starts, seconds[-1], declared_fps=0.0, max_num=max_num)
    corrections |= set() if ticks.is_constant else {showing.RETIMED}
    shown_FHWC = np.stack([frames[place] for place in ticks.places])
    return Shown(shown_FHWC, ticks.fps or FRAMES_PER_SECOND, tuple(sorted(corrections)))


def _frame(image: Any, corrections: set[str]) -> Frames:
    """Return one picture as it is shown, and note what was corrected."""
    upright = _in_srgb(_upright(image, corrections), corrections)
    if upright.mode.startswith("I"):  # 16 bits: a plain conversion would cut all above 255
        corrections.add(DEEP)
        levels_HW = np.asarray(upright, dtype=np.float64) / 257
        return np.repeat(levels_HW.round().clip(0, 255).astype(np.uint8)[:, :, None], 3, axis=2)
    if not upright.has_transparency_data:
        return np.asarray(upright.convert("RGB"))
    picture = showing.Picture(1.0, corrections)
    return picture.on_white(np.asarray(upright.convert("RGBA")))


def _upright(image: Any, corrections: set[str]) -> Any:
    """Turn an image by its EXIF orientation; where that is damaged, a viewer shows it as it is."""
    try:
        is_turned = image.getexif().get(_ORIENTATION, 1) in range(2, 9)
    except _BROKEN:
        return image
    if not is_turned:
        return image
    corrections.add(showing.TURNED)
    return ImageOps.exif_transpose(image)


def _in_srgb(image: Any, corrections: set[str]) -> Any:
    """Convert an RGB image from its own colour profile; one that cannot be used is passed over."""
    profile = image.info.get("icc_profile")
    if not profile or image.mode not in ("RGB", "RGBA"):
        return image
    try:
        own = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        if "sRGB" in ImageCms.getProfileDescription(own):
            return image
        converted = ImageCms.profileToProfile(image, own, ImageCms.createProfile("sRGB"))
    except (ImageCms.PyCMSError, OSError):
        return image
    corrections.add(PROFILED)
    return converted
