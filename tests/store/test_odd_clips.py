"""Odd clips: each row states what a player shows of a file, or why the file is refused."""

import struct
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from pathlib import Path

import av
import numpy as np
import pytest

from dualipo.errors import MediaError
from dualipo.store import showing
from dualipo.store.clips import ClipStore, examine, read_shown
from dualipo.store.containers import Limits, UnreadableClip
from tests.store import odd_clips
from tests.store.odd_clips import (
    HEIGHT,
    NUM,
    RATE,
    WIDTH,
    cut,
    edit,
    garbled,
    gif,
    level,
    make,
    patch,
)

TOLERANCE = 4  # levels that a lossy codec may be off
AVI = partial(make, container="avi", codec="mpeg4", options={})
WEBM = partial(make, container="webm", codec="libvpx-vp9", options={"crf": "6"})
MKV = partial(make, container="matroska")


@dataclass(frozen=True)
class Right:
    """The picture that a player shows; `numbers` are those of the frames as they were made."""

    numbers: tuple[int, ...] = tuple(range(NUM))
    size: tuple[int, int] = (HEIGHT, WIDTH)
    fps: float = RATE
    corners: str = "wb.."  # top left, top right, bottom left, bottom right: white, black or grey
    corrections: tuple[str, ...] = ()
    num: int = NUM  # frames that were made


def stamped(*stamps: int) -> dict[str, object]:
    """Return the knobs of a clip whose frames come at these milliseconds."""
    return {"num": len(stamps), "stamps": stamps}


def turned(matrix: tuple[int, int, int, int], corners: str) -> tuple[Callable[[], bytes], Right]:
    """Return a row of a clip with a display matrix."""
    size = (WIDTH, HEIGHT) if matrix[1] else (HEIGHT, WIDTH)
    corrections = (showing.TURNED,)
    return partial(make, matrix=matrix), Right(size=size, corners=corners, corrections=corrections)


SHOWN: dict[str, tuple[Callable[[], bytes], Right]] = {
    # Containers and codecs
    "H.264 in MP4": (make, Right()),
    "H.264 4:4:4": (partial(make, pixels="yuv444p"), Right()),
    "ten bits": (partial(make, pixels="yuv420p10le"), Right()),
    "frames out of order": (partial(make, options={"crf": "6", "bf": "3"}), Right()),
    "index first": (partial(make, flags="faststart"), Right()),
    "fragments": (
        partial(make, flags="frag_keyframe+empty_moov", options={"crf": "6", "g": "4", "bf": "0"}),
        Right(),
    ),
    "MOV": (partial(make, container="mov"), Right()),
    "ProRes": (
        partial(make, container="mov", codec="prores_ks", pixels="yuv422p10le", options={}),
        Right(),
    ),
    "RGB in MOV": (
        partial(make, container="mov", codec="qtrle", pixels="rgb24", options={}),
        Right(),
    ),
    "Matroska": (MKV, Right()),
    "FFV1": (partial(MKV, codec="ffv1", options={}), Right()),
    "VP9 in WebM": (WEBM, Right()),
    "VP8 in WebM": (partial(WEBM, codec="libvpx"), Right()),
    "MPEG-4 in AVI": (AVI, Right()),
    "Motion JPEG in AVI": (partial(AVI, codec="mjpeg", pixels="yuvj420p"), Right()),
    "NTSC's rate": (partial(make, rate=Fraction(30000, 1001)), Right(fps=30000 / 1001)),
    "one frame": (partial(make, num=1), Right((0,), num=1)),
    "with sound": (partial(make, extra="audio"), Right()),
    "a cover picture first": (partial(make, extra="cover first"), Right()),
    "high dynamic range": (
        partial(
            make,
            pixels="yuv420p10le",
            options={
                "crf": "6",
                "x264-params": "transfer=smpte2084:colorprim=bt2020:colormatrix=bt2020nc",
            },
        ),
        Right(corrections=(showing.TONES,)),
    ),
    "interlaced": (
        partial(make, options={"crf": "6", "bf": "0", "flags": "+ildct+ilme"}),
        Right(corrections=(showing.INTERLACED,)),
    ),
    "a see-through WebM": (
        partial(WEBM, pixels="yuva420p", options={"crf": "6", "auto-alt-ref": "0"}),
        Right(corrections=(showing.NO_ALPHA,)),
    ),
    # Display matrix: (x, y) is shown at (a x + c y, b x + d y)
    "a phone held upright": turned((0, 1, -1, 0), ".w.b"),
    "a phone on its other side": turned((0, -1, 1, 0), "b.w."),
    "a phone upside down": turned((-1, 0, 0, -1), "..bw"),
    "a mirror": turned((-1, 0, 0, 1), "bw.."),
    "a mirror below": turned((1, 0, 0, -1), "..wb"),
    "transposed": turned((0, 1, 1, 0), "w.b."),
    "transposed the other way": turned((0, -1, -1, 0), ".b.w"),
    "turned by an odd angle": (
        partial(make, matrix=(1, 1, -1, 1)),
        Right(corrections=(showing.ODD_ANGLE,)),
    ),
    "turned in Matroska": (
        partial(MKV, matrix=(0, 1, -1, 0)),
        Right(size=(WIDTH, HEIGHT), corners=".w.b", corrections=(showing.TURNED,)),
    ),
    # Pixels that are no squares
    "wide pixels": (
        partial(make, pixel_ratio=Fraction(4, 3)),
        Right(size=(HEIGHT, 64), corrections=(showing.SQUARED,)),
    ),
    "narrow pixels": (
        partial(make, pixel_ratio=Fraction(1, 2)),
        Right(size=(64, WIDTH), corrections=(showing.SQUARED,)),
    ),
    "wide pixels in Matroska": (
        partial(MKV, pixel_ratio=Fraction(4, 3)),
        Right(size=(HEIGHT, 64), corrections=(showing.SQUARED,)),
    ),
    "wide pixels, turned": (
        partial(make, pixel_ratio=Fraction(4, 3), matrix=(0, 1, -1, 0)),
        Right(size=(64, 32), corners=".w.b", corrections=(showing.SQUARED, showing.TURNED)),
    ),
    "a track of another shape than its frames": (
        lambda: patch(make(), b"tkhd", 76, struct.pack(">II", 640 << 16, 480 << 16)),
        Right(size=(36, WIDTH), corrections=(showing.SQUARED,)),
    ),
    # Time stamps
    "a frame that is held": (
        partial(make, **stamped(0, 100, 200, 800, 900)),
        Right((0, 1, 2, 2, 2, 2, 2, 2, 3, 4), fps=10, num=5, corrections=(showing.RETIMED,)),
    ),
    "a frame that is held, in Matroska": (
        partial(MKV, **stamped(0, 100, 200, 800, 900)),
        Right((0, 1, 2, 2, 2, 2, 2, 2, 3, 4), fps=10, num=5, corrections=(showing.RETIMED,)),
    ),
    "one frame that was dropped": (
        partial(make, **stamped(0, 100, 200, 300, 500, 600, 700)),
        Right((0, 1, 2, 3, 3, 4, 5, 6), fps=10, num=7, corrections=(showing.RETIMED,)),
    ),
    "half the rate in the dark": (
        partial(make, **stamped(0, 50, 100, 150, 200, 300, 400, 500)),
        Right((0, 1, 2, 3, 4, 4, 5, 5, 6, 6, 7, 7), fps=20, num=8, corrections=(showing.RETIMED,)),
    ),
    "a jitter of a few milliseconds": (
        partial(make, **stamped(0, 83, 170, 248, 335, 415, 501, 580, 668, 752, 830, 915)),
        Right(fps=11000 / 915),
    ),
    "time stamps that begin late": (
        partial(make, **stamped(5000, 5100, 5200, 5300)),
        Right((0, 1, 2, 3), fps=10, num=4),
    ),
    "frames too close to be seen": (
        partial(make, **stamped(0, 1, 2, 100)),
        Right((0, 2, 2, 2, 2, 2, 3, 3, 3, 3, 3), fps=60, num=4, corrections=(showing.RETIMED,)),
    ),
    "two frames": (partial(make, **stamped(0, 3000)), Right((0, 1), fps=1 / 3, num=2)),
    # Edit lists
    "trimmed at its start": (
        lambda: edit(make(), seconds=0.5, first=6),
        Right((6, 7, 8, 9, 10, 11), corrections=(showing.EDITED,)),
    ),
    "trimmed at its end": (
        lambda: edit(make(), seconds=0.5, first=0),
        Right((0, 1, 2, 3, 4, 5), corrections=(showing.EDITED,)),
    ),
    "trimmed at both ends": (
        lambda: edit(make(), seconds=0.5, first=3),
        Right((3, 4, 5, 6, 7, 8), corrections=(showing.EDITED,)),
    ),
    "trimmed between frames out of order": (  # which are shown two frames later
        lambda: edit(make(options={"crf": "6", "bf": "3"}), seconds=0.5, first=6),
        Right((4, 5, 6, 7, 8, 9), corrections=(showing.EDITED,)),
    ),
    # Headers that are not so
    "an AVI that declares more frames": (
        lambda: patch(AVI(), b"strh", 36, struct.pack("<I", 100)),
        Right(corrections=(showing.SHORTER,)),
    ),
    "an AVI that declares fewer frames": (
        lambda: patch(AVI(), b"strh", 36, struct.pack("<I", 3)),
        Right(),
    ),
    "an index with nothing behind it": (lambda: cut(make(), 0.97), Right()),
}

NO_MP4 = "Convert it to one of MP4, MOV, Matroska, WebM, AVI and GIF"
REFUSED: dict[str, tuple[Callable[[], bytes], str]] = {
    "nothing": (bytes, "an empty file"),
    "zeros": (lambda: bytes(5000), "not readable"),
    "a web page": (lambda: b"<!DOCTYPE html><html>404</html>", "a web page, and no clip"),
    "a pointer of Git LFS": (
        lambda: b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 4\n",
        "a pointer of Git LFS, and no clip. Fetch the file itself with `git lfs pull`",
    ),
    "five bytes": (lambda: make()[:5], "not readable"),
    "half of it, without the index": (lambda: cut(make(), 0.5), "not readable"),
    "half of it, with the index": (lambda: cut(make(flags="faststart"), 0.8), "not readable"),
    "cut between two frames": (
        lambda: make(flags="faststart", options={"crf": "6", "g": "1"})[: -_last_size()],
        "11 frames can be read of 12: its end is missing",
    ),
    "noise among its frames": (lambda: garbled(make()), "not readable"),
    "a GIF that was cut": (lambda: cut(gif(range(30, 150, 10), [100] * 12), 0.6), "not readable"),
    "an edit list that shows nothing": (
        lambda: edit(make(), seconds=1, first=-1),
        "no frame of it can be read",
    ),
    "sound alone": (partial(make, extra="audio only"), "no video in it"),
    "a song with its cover": (partial(make, extra="cover only"), "no video in it"),
    "no frames": (lambda: make(flags="empty_moov", num=0), "empty|no frame"),
    "a side longer than an encoder takes": (
        partial(
            make, container="mov", codec="png", pixels="rgb24", size=(8, 17_000), num=1, options={}
        ),
        "17000 pixels a side, the limit is 16384",
    ),
    "pixels a hundred times as wide": (
        partial(make, size=(512, 768), pixel_ratio=Fraction(100, 1)),
        "39321600 pixels a frame",
    ),
    "Flash": (partial(make, container="flv"), f"Flash video is not read as a clip. {NO_MP4}"),
    "MPEG-TS": (partial(make, container="mpegts"), f"an MPEG stream is not read.*{NO_MP4}"),
    "WMV": (
        partial(make, container="asf", codec="wmv2", options={}),
        f"Windows Media is not read.*{NO_MP4}",
    ),
    "a TIFF": (lambda: b"II*\0" + bytes(50), "a TIFF image is not read as a clip"),
    "a phone's photo": (lambda: b"\0\0\0\x18ftypheic" + bytes(50), "a HEIF image is not read"),
    "an AVIF": (lambda: b"\0\0\0\x18ftypavif" + bytes(50), "an AVIF image is not read"),
    "an Ogg": (lambda: b"OggS" + bytes(50), "an Ogg file is not read"),
    "a PNG": (lambda: b"\x89PNG\r\n\x1a\n" + bytes(50), "PNG is not read as a clip"),
}


CUT = {
    "AVI": lambda: AVI()[: AVI().rindex(b"00dc", 0, AVI().rindex(b"idx1"))],
    "Matroska": lambda: cut(MKV(), 0.85),
    "WebM": lambda: cut(WEBM(), 0.8),
}


def _last_size() -> int:
    """Return how many bytes the last frame has: what is lost by a cut before it."""
    content = make(flags="faststart", options={"crf": "6", "g": "1"})
    table = content.index(b"stsz") + 4 + 8
    num = struct.unpack(">I", content[table : table + 4])[0]
    return int(struct.unpack(">I", content[table + 4 * num : table + 4 * num + 4])[0])


@pytest.mark.parametrize("name", SHOWN)
def test_fault_80_a_clip_is_read_as_a_player_shows_it(name: str, tmp_path: Path) -> None:
    content, right = SHOWN[name]
    path = tmp_path / "clip.bin"
    path.write_bytes(content())
    shown = read_shown(path)
    frames_FHWC = shown.frames_FHWC.astype(int)
    assert frames_FHWC.shape == (len(right.numbers), *right.size, 3)
    assert shown.fps == pytest.approx(right.fps, rel=1e-3)
    assert shown.corrections == tuple(sorted(right.corrections))
    middle_F = frames_FHWC[:, right.size[0] // 2, right.size[1] // 2].mean(1)
    levels_F = np.array([level(number, right.num) for number in right.numbers])
    assert np.abs(middle_F - levels_F).max() <= TOLERANCE
    assert _corners(frames_FHWC[0], levels_F[0]) == right.corners
    header, corrections = examine(path)
    assert (header.num_frames, header.height, header.width) == frames_FHWC.shape[:3]
    assert (header.fps, corrections) == (shown.fps, shown.corrections)


@pytest.mark.parametrize("name", CUT)
def test_fault_80_a_film_without_its_end_is_read_as_far_as_it_goes(
    name: str, tmp_path: Path
) -> None:
    """Read what players show, as decoding does not err; say that it is shorter."""
    (tmp_path / "clip.bin").write_bytes(CUT[name]())
    shown = read_shown(tmp_path / "clip.bin")
    num = len(shown.frames_FHWC)
    assert 1 < num < NUM and shown.corrections == (showing.SHORTER,)
    middle_F = shown.frames_FHWC[:, HEIGHT // 2, WIDTH // 2].mean(1)
    assert np.abs(middle_F - [level(number) for number in range(num)]).max() <= TOLERANCE


def _corners(frame_HW3: np.ndarray, grey: int) -> str:
    names = {255: "w", 0: "b", int(grey): "."}
    corners = [frame_HW3[y, x, 0] for y in (2, -3) for x in (2, -3)]
    return "".join(names[min(names, key=lambda level: abs(level - corner))] for corner in corners)


@pytest.mark.parametrize("name", REFUSED)
def test_fault_19_and_20_what_cannot_be_decoded_is_refused(name: str, tmp_path: Path) -> None:
    content, fact = REFUSED[name]
    path = tmp_path / "clip.mp4"
    path.write_bytes(content())
    for read in (read_shown, examine):
        with pytest.raises(MediaError, match=rf"clip\.mp4: .*({fact})") as refusal:
            read(path)
        assert str(refusal.value).endswith(".")


GIFS = {
    "a constant rate": (gif([30, 90, 150], [100, 100, 100]), [30, 90, 150], 10, ()),
    "its own times": (
        gif([30, 90, 150], [100, 300, 200]),
        [30, 90, 90, 90, 150, 150],
        10,
        (showing.RETIMED,),
    ),
    "no times": (gif([30, 90, 150], [0, 0, 0]), [30, 90, 150], 10, ()),
    "a still": (gif([77], [100]), [77], 10, ()),
}


@pytest.mark.parametrize("name", GIFS)
def test_fault_80_a_gif_moves_in_its_own_time(name: str, tmp_path: Path) -> None:
    content, levels, fps, corrections = GIFS[name]
    (tmp_path / "clip.gif").write_bytes(content)
    shown = read_shown(tmp_path / "clip.gif")
    assert shown.frames_FHWC[:, 5, 5].tolist() == [[grey] * 3 for grey in levels]
    assert (shown.fps, shown.corrections) == (fps, corrections)


def test_fault_80_what_is_transparent_lies_on_white() -> None:
    picture = showing.Picture(1.0)
    pixels_HW4 = np.array([[[9, 9, 9, 0], [9, 9, 9, 255], [0, 0, 0, 128]]], np.uint8)
    assert picture.on_white(pixels_HW4).tolist() == [[[255] * 3, [9] * 3, [127] * 3]]
    assert picture.corrections == {showing.OPAQUE}
    assert showing.Picture(1.0).on_white(pixels_HW4[:, 1:2]).tolist() == [[[9, 9, 9]]]


def test_fault_22_frames_are_counted_as_they_come(tmp_path: Path) -> None:
    """Count the frames of a Matroska, which declares none, and the ticks of an hour's still."""
    path = tmp_path / "clip.mkv"
    path.write_bytes(MKV())
    with pytest.raises(MediaError, match="9 frames, the limit is 8") as refusal:
        read_shown(path, limits=Limits(max_frames=8))
    assert not isinstance(refusal.value, UnreadableClip)
    num_bytes = 3 * HEIGHT * WIDTH * 8
    with pytest.raises(MediaError, match="bytes once decoded, the limit is"):
        examine(path, limits=Limits(max_bytes=num_bytes))
    path.write_bytes(make(**stamped(0, 40, 3_600_000)))
    shown = read_shown(path)
    assert len(shown.frames_FHWC) == 256 and shown.fps == pytest.approx(256 / 3600, rel=1e-3)


def test_ordinary_clips_are_read_bit_for_bit_as_ever(tmp_path: Path) -> None:
    """Compare a clip of a run with FFmpeg's own RGB: neither turning nor time touches it."""
    frames_FHWC = np.random.default_rng(0).integers(0, 256, (9, 34, 30, 3), dtype=np.uint8)
    store = ClipStore(tmp_path)
    for fps in (8, 7.5, 24000 / 1001):
        clip = store.put(frames_FHWC, fps)
        with av.open(str(store.path(clip))) as container:
            plain = [
                frame.reformat(
                    format="rgb24",
                    src_colorspace=frame.colorspace,
                    src_color_range=frame.color_range,
                ).to_ndarray()
                for frame in container.decode(video=0)
            ]
        shown = store.show(clip)
        assert np.array_equal(shown.frames_FHWC, np.stack(plain)) and shown.corrections == ()
        assert shown.fps == pytest.approx(fps, rel=1e-6)


def test_the_corpus_is_large_and_small() -> None:
    assert len(SHOWN) + len(REFUSED) + len(CUT) + len(GIFS) >= 60
    assert max(len(odd_clips.make()), len(AVI())) < 10_000
