"""Odd images: each row states what a viewer shows of a file, or why it is refused."""

import io
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageCms

from dualipo.preferences.importers import images
from dualipo.preferences.importers.row import Unfit
from dualipo.store import showing

SIZE = (16, 24)  # height, width
WHITE, BLACK, GREY = 255, 0, 90


def picture(grey: int = GREY) -> np.ndarray:
    """Return pixels with a white top left and a black top right corner."""
    pixels = np.full((*SIZE, 3), grey, np.uint8)
    pixels[:8, :8], pixels[:8, -8:] = WHITE, BLACK
    return pixels


def saved(image: Any, kind: str, **options: Any) -> bytes:
    """Return the bytes of an image file."""
    sink = io.BytesIO()
    image.save(sink, kind, **options)
    return sink.getvalue()


def plain(kind: str, mode: str = "RGB", **options: Any) -> Callable[[], bytes]:
    """Return a maker of the picture in a kind of file and a mode."""
    return lambda: saved(Image.fromarray(picture()).convert(mode), kind, **options)


def oriented(tag: int) -> Callable[[], bytes]:
    """Return a maker of a JPEG with an EXIF orientation."""
    exif = Image.Exif()
    exif[0x0112] = tag
    return plain("JPEG", quality=95, exif=exif)


def deep() -> bytes:
    """Return a PNG of 16 bits a channel."""
    return saved(Image.fromarray(picture()[:, :, 0].astype(np.uint16) * 257), "PNG")


def see_through(kind: str, **options: Any) -> bytes:
    """Return an image whose lower half is transparent, over red that nobody should see."""
    pixels = np.dstack([picture(), np.full(SIZE, 255, np.uint8)])
    pixels[8:] = (200, 0, 0, 0)
    return saved(Image.fromarray(pixels), kind, **options)


def moving(kind: str, durations: list[int], **options: Any) -> bytes:
    """Return an animation whose pictures are 30, 60, 90 and so on."""
    pages = [Image.fromarray(picture(30 * n)) for n in range(1, 1 + len(durations))]
    rest = {"save_all": True, "append_images": pages[1:], "duration": durations}
    return saved(pages[0], kind, **rest, **options)


SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()

# The maker; the corners from top left to bottom right; what was corrected.
STILLS: dict[str, tuple[Callable[[], bytes], str, tuple[str, ...]]] = {
    "JPEG": (plain("JPEG", quality=95), "wb..", ()),
    "grey JPEG": (plain("JPEG", "L", quality=95), "wb..", ()),
    "progressive JPEG": (plain("JPEG", quality=95, progressive=True), "wb..", ()),
    "PNG": (plain("PNG"), "wb..", ()),
    "PNG with a palette": (plain("PNG", "P"), "wb..", ()),
    "PNG of grey and opacity": (plain("PNG", "LA"), "wb..", ()),
    "PNG of 16 bits": (deep, "wb..", (images.DEEP,)),
    "PNG in sRGB": (plain("PNG", icc_profile=SRGB), "wb..", ()),
    "PNG with a broken profile": (plain("PNG", icc_profile=b"none"), "wb..", ()),
    "WebP": (plain("WEBP", lossless=True), "wb..", ()),
    "BMP": (plain("BMP"), "wb..", ()),
    "see-through PNG": (lambda: see_through("PNG"), "wbww", (showing.OPAQUE,)),
    "see-through WebP": (
        lambda: see_through("WEBP", lossless=True, exact=True),
        "wbww",
        (showing.OPAQUE,),
    ),
    "upright by its EXIF": (oriented(1), "wb..", ()),
    "mirrored": (oriented(2), "bw..", (showing.TURNED,)),
    "upside down": (oriented(3), "..bw", (showing.TURNED,)),
    "upside down, mirrored": (oriented(4), "..wb", (showing.TURNED,)),
    "transposed": (oriented(5), "w.b.", (showing.TURNED,)),
    "held upright": (oriented(6), ".w.b", (showing.TURNED,)),
    "transposed the other way": (oriented(7), ".b.w", (showing.TURNED,)),
    "held on its other side": (oriented(8), "b.w.", (showing.TURNED,)),
    "an orientation that is none": (oriented(9), "wb..", ()),
    "PNG with a broken EXIF": (lambda: with_chunk(b"eXIf", b"\xff" * 30), "wb..", ()),
    "JPEG with a broken EXIF": (plain("JPEG", quality=95, exif=b"junk" * 40), "wb..", ()),
    "JPEG in ink": (plain("JPEG", "CMYK", quality=95), "wb..", ()),
}

MOVING: dict[str, tuple[Callable[[], bytes], list[int], float, tuple[str, ...]]] = {
    "animated WebP": (
        lambda: moving("WEBP", [100, 100, 100], lossless=True),
        [30, 60, 90],
        10,
        (),
    ),
    "animated PNG": (lambda: moving("PNG", [200, 200]), [30, 60], 5, ()),
    "animated PNG in its own times": (
        lambda: moving("PNG", [100, 300, 100]),
        [30, 60, 60, 60, 90],
        10,
        (showing.RETIMED,),
    ),
    "animated PNG with a still before it": (
        lambda: moving("PNG", [100, 100, 100], default_image=True),
        [60, 90],
        10,
        (),
    ),
    "GIF": (lambda: moving("GIF", [100, 100]), [30, 60], 10, ()),
}


def with_chunk(name: bytes, content: bytes) -> bytes:
    """Return a PNG with one more chunk before its picture."""
    whole = plain("PNG")()
    place = whole.index(b"IDAT") - 4
    chunk = name + content
    sum_ = zlib.crc32(chunk).to_bytes(4, "big")
    return whole[:place] + len(content).to_bytes(4, "big") + chunk + sum_ + whole[place:]


REFUSED: dict[str, tuple[Callable[[], bytes], str]] = {
    "TIFF": (plain("TIFF"), "a TIFF image is not read as an image. Save it as JPEG, PNG"),
    "AVIF": (lambda: b"\0\0\0\x18ftypavif" + bytes(50), "an AVIF image is not read"),
    "HEIF": (lambda: b"\0\0\0\x18ftypheic" + bytes(50), "a HEIF image is not read"),
    "JPEG XL": (lambda: b"\xff\x0a" + bytes(50), "a JPEG XL image is not read"),
    "half a PNG": (lambda: plain("PNG")()[:60], "not a readable image"),
    "half a JPEG": (lambda: plain("JPEG")()[:400], "not a readable image"),
    "text": (lambda: b"no image", r"not a readable image \(its kind is unknown\)"),
    "a web page": (lambda: b"<html>404</html>", "a web page, and no image. Download the file"),
    "a long strip": (
        lambda: saved(Image.new("L", (20_000, 1)), "PNG"),
        "a side of it has 20000 pixels, but the limit is 16384",
    ),
    "a text that unpacks to 80 MB": (
        lambda: with_chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(80 << 20))),
        "not a readable image",
    ),
    "nothing": (bytes, "not a readable image"),
}


@pytest.mark.parametrize("name", STILLS)
def test_fault_80_an_image_is_read_as_a_viewer_shows_it(name: str, tmp_path: Path) -> None:
    content, corners, corrections = STILLS[name]
    path = tmp_path / "image.jpg"  # the content counts
    path.write_bytes(content())
    for source in (path, io.BytesIO(content())):
        shown = images.read(source, "image.jpg")
        assert shown.frames_FHWC.shape[1:3] == (SIZE if corners in _LYING else SIZE[::-1])
        assert shown.frames_FHWC.shape[0] == 1 and shown.corrections == corrections
        assert _corners(shown.frames_FHWC[0]) == corners


_LYING = {"wb..", "bw..", "..bw", "..wb", "wbww"}


def _corners(frame_HW3: np.ndarray) -> str:
    names = {WHITE: "w", BLACK: "b", GREY: "."}
    found = [frame_HW3[y, x].astype(int) for y in (1, -2) for x in (1, -2)]
    assert all(corner.max() - corner.min() <= 3 for corner in found)
    return "".join(names[min(names, key=lambda grey: abs(grey - corner[0]))] for corner in found)


@pytest.mark.parametrize("name", MOVING)
def test_fault_80_an_animation_moves_in_its_own_time(name: str) -> None:
    content, levels, fps, corrections = MOVING[name]
    shown = images.read(io.BytesIO(content()), "image")
    assert shown.frames_FHWC[:, 12, 12, 0].tolist() == levels
    assert (shown.fps, shown.corrections) == (fps, corrections)


@pytest.mark.parametrize("name", REFUSED)
def test_fault_39_what_is_no_image_is_refused_by_its_kind(name: str) -> None:
    content, fact = REFUSED[name]
    with pytest.raises(Unfit, match=f"^a cat: (it is )?{fact}"):
        images.read(io.BytesIO(content()), "a cat")


def test_fault_80_colours_of_another_profile_become_srgb() -> None:
    """Read grey 55 in a profile of a linear tone curve, which is the grey 128 of sRGB."""
    grey = Image.fromarray(np.full((4, 4, 3), 55, np.uint8))
    content = saved(grey, "PNG", icc_profile=_linear_rgb())
    shown = images.read(io.BytesIO(content), "image")
    assert shown.corrections == (images.PROFILED,)
    assert np.abs(shown.frames_FHWC.astype(int) - 128).max() <= 2


def _linear_rgb() -> bytes:
    """Return sRGB's profile with a straight tone curve and another name."""
    profile = bytearray(SRGB)
    num_tags = int.from_bytes(profile[128:132], "big")
    for n in range(num_tags):
        tag = profile[132 + 12 * n : 144 + 12 * n]
        start = int.from_bytes(tag[4:8], "big")
        if tag[:4] in (b"rTRC", b"gTRC", b"bTRC"):
            profile[start : start + 12] = b"curv" + bytes(8)  # no entries: the identity
    return bytes(profile).replace(b"s\0R\0G\0B", b"l\0i\0n\0B").replace(b"sRGB", b"linB")
