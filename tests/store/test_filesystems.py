"""Which journal a ledger gets, by the file system that it is on."""

import sqlite3
from pathlib import Path

import pytest

from dualipo.store import filesystems
from dualipo.store.ledger import Ledger, Unit

MOUNTS = r"""
22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
30 22 0:25 / /mnt/runs rw - nfs4 server:/runs rw,vers=4.2
31 30 8:2 / /mnt/runs/own rw - xfs /dev/sdb1 rw
32 22 0:30 / /mnt/my\040bucket rw - fuse.gcsfuse bucket rw
33 22 0:31 / /mnt/hidden rw - ext4 /dev/sdc1 rw
34 22 0:32 / /mnt/hidden rw - lustre mds@tcp:/fs rw
"""


@pytest.mark.parametrize(
    ("path", "kind", "is_shared"),
    [
        ("/home/me/run", "ext4", False),
        ("/mnt/runs/a/b", "nfs4", True),
        ("/mnt/runs/own/a", "xfs", False),
        ("/mnt/runs2", "ext4", False),
        ("/mnt/my bucket/run", "fuse.gcsfuse", True),
        ("/mnt/hidden/run", "lustre", True),
    ],
)
def test_the_nearest_and_latest_mount_counts(path: str, kind: str, is_shared: bool) -> None:
    assert filesystems.kind_of(Path(path), mounts=MOUNTS) == kind
    assert bool(filesystems.NETWORK.fullmatch(kind)) == is_shared


def test_a_ledger_on_a_network_file_system_has_no_write_ahead_log_and_is_read_while_it_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = Ledger(tmp_path / "ledger.sqlite")  # made on a local disk
    before.commit_unit(Unit(0, 0, "prompts"))
    before.close()
    mounts = tmp_path / "mountinfo"
    mounts.write_text(
        f"22 1 8:1 / / rw - ext4 a rw\n30 22 0:25 / {tmp_path} rw - nfs4 s:/runs rw\n"
    )
    monkeypatch.setattr(filesystems, "MOUNTS", mounts)
    written = Ledger(tmp_path / "ledger.sqlite")
    reader = Ledger(tmp_path / "ledger.sqlite", read_only=True)
    written.commit_unit(Unit(0, 0, "align"))
    assert not list(tmp_path.glob("*-wal")) and not list(tmp_path.glob("*-shm"))
    assert reader.units() == [Unit(0, 0, "prompts"), Unit(0, 0, "align")]
    reader.close()
    written.close()
    with sqlite3.connect(tmp_path / "ledger.sqlite") as plain:
        assert plain.execute("PRAGMA journal_mode").fetchone() == ("delete",)
