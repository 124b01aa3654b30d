"""A recording shim: what would be left of the disk if the power went now."""

import os
from pathlib import Path

import pytest

from dualipo.store.ledger import Ledger


class Synced:
    """Remembers contents and names at their fsync; whatever was not synced is lost."""

    def __init__(self) -> None:
        self.steps: list[str] = []
        self._contents: dict[int, bytes] = {}
        self._names: dict[Path, int] = {}

    def fsync(self, descriptor: int) -> None:
        target = Path(os.readlink(f"/proc/self/fd/{descriptor}"))
        if target.is_dir():
            self.steps.append("fsync folder")
            self._names |= {path: path.stat().st_ino for path in target.iterdir()}
        else:
            self.steps.append("fsync file")
            self._contents[target.stat().st_ino] = target.read_bytes()

    def at_commit(self, ledger: Ledger) -> None:
        def note(statement: str) -> None:
            if statement == "COMMIT":
                self.steps.append("commit")

        ledger._connection.set_trace_callback(note)

    def content_of(self, inode: int) -> bytes:
        """Return a file's content at its last fsync, whatever its name is now."""
        return self._contents[inode]

    def surviving(self, path: Path) -> bytes:
        folders = [path, *list(path.parents)[:2]]
        assert all(folder in self._names for folder in folders), "a name was lost"
        return self._contents[self._names[path]]


@pytest.fixture
def synced(monkeypatch: pytest.MonkeyPatch) -> Synced:
    shim, fsync, replace = Synced(), os.fsync, os.replace

    def recording_fsync(descriptor: int) -> None:
        fsync(descriptor)
        shim.fsync(descriptor)

    def recording_replace(source: Path, target: Path) -> None:
        shim.steps.append("rename")
        replace(source, target)

    monkeypatch.setattr(os, "fsync", recording_fsync)
    monkeypatch.setattr(os, "replace", recording_replace)
    return shim
