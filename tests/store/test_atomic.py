"""Nothing is visible half-written: the order of writing, full disks, failing disks."""

import errno
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from dualipo import failpoints
from dualipo.errors import DataError, StorageError
from dualipo.store import atomic


@pytest.fixture
def arm():
    yield failpoints.arm
    failpoints.arm("")


def test_the_order_is_write_fsync_rename_fsync_folder(tmp_path: Path, monkeypatch) -> None:
    seen = []
    fsync, replace = os.fsync, os.replace

    def recording_fsync(descriptor: int) -> None:
        target = Path(os.readlink(f"/proc/self/fd/{descriptor}"))
        size = target.stat().st_size if target.is_file() else None
        seen.append(("fsync", "folder" if target == tmp_path else "file", size))
        fsync(descriptor)

    def recording_replace(source: Path, target: Path) -> None:
        seen.append(("rename", source.name[:5], target.name))
        replace(source, target)

    monkeypatch.setattr(os, "fsync", recording_fsync)
    monkeypatch.setattr(os, "replace", recording_replace)
    atomic.write_text(tmp_path / "a.txt", "seven c")
    in_order = [("fsync", "file", 7), ("rename", ".tmp-", "a.txt"), ("fsync", "folder", None)]
    assert seen == in_order

    seen.clear()
    with atomic.publish(tmp_path / "b.txt") as temporary:
        temporary.write_text("seven c")
    assert seen == [*in_order[:1], ("rename", ".tmp-", "b.txt"), *in_order[2:]]


def test_a_folder_is_published_only_when_all_that_is_in_it_is_durable(
    tmp_path: Path, synced
) -> None:
    """Discard all that was not fsynced: the folder's files are there, whole, at any depth."""
    with atomic.publish_folder(tmp_path / "model") as temporary:
        (temporary / "inner").mkdir()
        (temporary / "config.json").write_text("{}")
        (temporary / "inner" / "weights").write_bytes(bytes(999))
    renamed = synced.steps.index("rename")
    assert synced.steps[:renamed].count("fsync file") == 2
    assert (
        synced.steps[:renamed].count("fsync folder") == 2
        and "fsync folder" in synced.steps[renamed:]
    )
    inode = (tmp_path / "model" / "inner" / "weights").stat().st_ino
    assert synced.content_of(inode) == bytes(999)


def test_a_failed_block_leaves_the_previous_file(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    atomic.write_text(path, "before")
    with pytest.raises(RuntimeError), atomic.publish(path) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    with pytest.raises(RuntimeError), atomic.publish_folder(tmp_path / "folder") as temporary:
        (temporary / "part").write_text("half")
        raise RuntimeError
    assert path.read_text() == "before" and list(tmp_path.iterdir()) == [path]


def test_a_published_folder_replaces_the_one_before(tmp_path: Path) -> None:
    for text in ("one", "two"):
        with atomic.publish_folder(tmp_path / "folder") as temporary:
            (temporary / "inner").mkdir()
            (temporary / "inner" / text).write_text(text)
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["two"]
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]


def test_json_is_canonical(tmp_path: Path) -> None:
    atomic.write_json(tmp_path / "a.json", {"b": 1, "a": [0.1, "é"]})
    atomic.write_json(tmp_path / "b.json", {"a": [0.1, "é"], "b": 1})
    assert (tmp_path / "a.json").read_bytes() == (tmp_path / "b.json").read_bytes()
    with pytest.raises(ValueError):
        atomic.write_json(tmp_path / "a.json", float("nan"))


def test_fault_11_torn_json_names_the_file(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    atomic.write_json(path, {"key": ["value", 1]})
    content = path.read_bytes()
    for length in range(0, len(content) - 2, 3):
        path.write_bytes(content[:length])
        with pytest.raises(DataError, match=r"a\.json.*Delete it"):
            atomic.read_json(path)


FILL_DISK = """
import pathlib, resource, sys
from dualipo.errors import StorageError
from dualipo.store import atomic
path = pathlib.Path(sys.argv[1])
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
try:
    atomic.write_bytes(path, bytes(5000))
except StorageError as error:
    print(error)
"""


def test_fault_15_a_file_too_large_leaves_the_previous_one(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("before")
    command = [sys.executable, "-c", FILL_DISK, str(path)]
    message = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert str(path) in message and "5000 bytes needed" in message and "ulimit" in message
    assert path.read_text() == "before" and list(tmp_path.iterdir()) == [path]
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] != 1000


def test_fault_15_a_full_disk_at_every_failpoint(tmp_path: Path, arm) -> None:
    path = tmp_path / "a.txt"
    for hit in (1, 2):
        atomic.write_text(path, "before")
        arm(f"enospc@{hit}")
        with pytest.raises(StorageError, match=r"a\.txt: No space left on device, 5 bytes needed"):
            atomic.write_text(path, "after")
        # After the rename the new file stands: whole, and without a row until it is redone.
        assert path.read_text() == ("before", "after")[hit - 1]
        assert list(tmp_path.iterdir()) == [path]


def test_fault_16_an_input_output_error_is_retried_thrice(tmp_path: Path, arm) -> None:
    for hit in (1, 2):
        arm(f"eio@{hit}")
        atomic.write_text(tmp_path / "a.txt", f"{hit}")
        assert (tmp_path / "a.txt").read_text() == f"{hit}"

    calls = []

    def failing() -> None:
        calls.append(1)
        raise OSError(errno.EIO, "broken")

    with pytest.raises(StorageError, match="check the disk"), atomic.storage_errors(tmp_path):
        atomic.retry(failing)
    assert len(calls) == 4


READ_ONLY = """
import os, pathlib, sys
from dualipo.errors import StorageError
from dualipo.store import atomic
if os.getuid() == 0:
    os.setuid(65534)
try:
    atomic.write_text(pathlib.Path(sys.argv[1]), "text")
except StorageError as error:
    print(error)
"""


def test_fault_16_a_read_only_folder(tmp_path: Path) -> None:
    code = Path(atomic.__file__).parents[2]
    folder = tmp_path / "folder"
    folder.mkdir()
    for parent in (tmp_path, *tmp_path.parents[:2]):
        parent.chmod(0o755)  # another user must reach it
    folder.chmod(0o555)
    command = [sys.executable, "-c", READ_ONLY, str(folder / "a.txt")]
    ran = subprocess.run(command, capture_output=True, text=True, cwd=code)
    assert "a.txt" in ran.stdout and "output_dir" in ran.stdout, ran.stderr
    assert list(folder.iterdir()) == []
