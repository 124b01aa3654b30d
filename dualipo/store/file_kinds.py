"""Tells what a media file is from its first bytes, whatever its name says."""

from pathlib import Path

IMAGES = ("JPEG", "PNG", "WebP", "BMP")  # those that are read, each as a clip of one frame
# What stands in a clip's place where a download went wrong, and the remedy.
NO_MEDIA = {
    "a pointer of Git LFS": "Fetch the file itself with `git lfs pull`",
    "a web page": "Download the file again",
}
# FFmpeg would open the first two as a film: of a photo's tiles, which are not the photo.
NOT_READ = (
    *("a HEIF image", "an AVIF image", "a TIFF image", "a JPEG XL image", *IMAGES),
    *("Flash video", "Windows Media", "an MPEG stream", "an Ogg file"),
)

_BEGINNINGS: dict[bytes, str] = {
    b"\xff\xd8\xff": "JPEG",
    b"\x89PNG\r\n\x1a\n": "PNG",
    b"BM": "BMP",
    b"GIF8": "GIF",
    **dict.fromkeys((b"II*\0", b"MM\0*"), "a TIFF image"),
    **dict.fromkeys((b"\xff\x0a", b"\0\0\0\x0cJXL "), "a JPEG XL image"),
    b"FLV\x01": "Flash video",
    b"version https://git-lfs": "a pointer of Git LFS",
    **dict.fromkeys((b"<!DOCTYPE html", b"<!doctype html", b"<html"), "a web page"),
    b"\x30\x26\xb2\x75\x8e\x66\xcf\x11": "Windows Media",
    b"\0\0\x01\xba": "an MPEG stream",
    b"OggS": "an Ogg file",
}
_BRANDS = {
    **dict.fromkeys((b"heic", b"heix", b"heim", b"heis", b"mif1", b"msf1"), "a HEIF image"),
    **dict.fromkeys((b"avif", b"avis"), "an AVIF image"),
}
_NUM_BYTES = 189  # two packets of an MPEG transport stream begin within them


def kind_of(path: Path) -> str:
    """Return the kind of the file, or "" where its first bytes are none that is known here."""
    with open(path, "rb") as stream:
        return kind_of_bytes(stream.read(_NUM_BYTES))


def kind_of_bytes(head: bytes) -> str:
    """Return the kind of a file that begins with these bytes, or ""."""
    if head[4:8] == b"ftyp":
        return _BRANDS.get(head[8:12], "")
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "WebP"
    if head[:1] == b"G" and head[188:189] == b"G":
        return "an MPEG stream"
    return next((kind for beginning, kind in _BEGINNINGS.items() if head.startswith(beginning)), "")
