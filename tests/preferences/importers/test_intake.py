"""Tests that paths stay inside the root, addresses are refused, and clips are checked first."""

import os
import socket
from pathlib import Path

import numpy as np
import pytest

from dualipo.errors import MediaError
from dualipo.preferences.importers.intake import Intake
from dualipo.preferences.importers.row import Footage, Unfit
from dualipo.store.clips import ClipStore
from tests.video_files import write_clip


@pytest.fixture
def intake(root: Path, tmp_path: Path) -> Intake:
    staging = tmp_path / "staging"
    staging.mkdir()
    return Intake(root, ClipStore(tmp_path / "clips"), staging=staging)


def nothing_came(intake: Intake, tmp_path: Path) -> bool:
    return not any((tmp_path / "staging").iterdir()) and not intake.new


def test_fault_50_no_path_leads_out_of_the_root(intake: Intake, root: Path, tmp_path: Path) -> None:
    secret = tmp_path / "secret.mp4"
    write_clip(secret, np.zeros((2, 16, 16, 3), np.uint8), 8)
    (root / "link.mp4").symlink_to(secret)
    (root / "folder").symlink_to(tmp_path)
    (root / "loop.mp4").symlink_to("loop.mp4")
    for name in ("../secret.mp4", "videos/../../secret.mp4", str(secret), "link.mp4"):
        with pytest.raises(Unfit, match="leads out of"):
            intake.take(Footage((name,)))
    with pytest.raises(Unfit, match="leads out of"):
        intake.take(Footage(("folder/secret.mp4",)))
    with pytest.raises(Unfit, match="leads out of"):
        intake.take(Footage(frames=("images/0.jpg", "../secret.jpg")))
    for name in ("loop.mp4", "nul\0.mp4", "x" * 5000, "videos", ""):
        with pytest.raises((Unfit, MediaError)):
            intake.take(Footage((name,)))
    os.mkfifo(root / "pipe.mp4")
    with pytest.raises(Unfit, match=r"'pipe\.mp4' is no file"):
        intake.take(Footage(("pipe.mp4",)))
    assert nothing_came(intake, tmp_path)


def test_a_link_inside_the_root_and_an_absolute_path_there_are_followed(
    intake: Intake, root: Path
) -> None:
    (root / "again.mp4").symlink_to(root / "videos" / "1_A.mp4")
    plain = intake.take(Footage(("videos/1_A.mp4",)))
    assert intake.take(Footage(("again.mp4",))) == plain
    assert intake.take(Footage((str(root / "videos/1_A.mp4"),))) == plain
    assert intake.new == {plain}


def test_fault_51_an_address_is_never_fetched(intake: Intake, root: Path, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.2)
        place = f"127.0.0.1:{server.getsockname()[1]}/a.mp4"
        for name in (f"http://{place}", f"HTTPS://{place}", f"//{place}", f"rtmp://{place}"):
            with pytest.raises(Unfit, match="an address, and nothing is ever fetched"):
                intake.take(Footage((name,)))
        for name in ("file:///etc/passwd", "data:video/mp4;base64,AAAA", "concat:a|b", "s3://a/b"):
            with pytest.raises(Unfit, match="an address"):
                intake.take(Footage((name,)))
        (root / "list.mp4").write_text(f"#EXTM3U\n#EXTINF:9,\nhttp://{place}\n#EXT-X-ENDLIST\n")
        with pytest.raises(MediaError, match="not readable"):
            intake.take(Footage(("list.mp4",)))
        with pytest.raises(TimeoutError):
            server.accept()
    assert nothing_came(intake, tmp_path)


@pytest.mark.slow
def test_fault_22_a_bomb_is_refused_before_it_is_copied(
    intake: Intake, root: Path, tmp_path: Path
) -> None:
    write_clip(root / "bomb.mp4", np.zeros((1, 4096, 2048, 3), np.uint8), 8)
    with pytest.raises(MediaError, match="8388608 pixels a frame"):
        intake.take(Footage(("bomb.mp4",)))
    # A PNG's header is its first 24 bytes: here it declares 60,000 x 60,000.
    header = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + (60_000).to_bytes(4, "big") * 2
    for content, fact in ((header + b"\x08\2\0\0\0", "image"), (b"GIF89a", "not a readable image")):
        with pytest.raises(Unfit, match=fact):
            intake.take(Footage(image=content))
    with pytest.raises(Unfit, match="frames, but the limit is"):
        intake.take(Footage(frames=("images/0.jpg",) * 5000))
    assert nothing_came(intake, tmp_path)


def test_what_a_label_says_of_a_clip_s_content_must_be_so(intake: Intake) -> None:
    sha256 = intake.take(Footage(("videos/1_A.mp4",)))
    assert intake.take(Footage(("videos/1_A.mp4",), sha256=sha256)) == sha256
    with pytest.raises(Unfit, match="its content is not what its label names"):
        intake.take(Footage(("videos/1_B.mp4",), sha256=sha256))
