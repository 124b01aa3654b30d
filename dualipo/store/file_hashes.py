"""Files are compared with the ledger before they are read, each once a process, by name.

Safetensors and most of parquet load a flipped bit silently, and a model's folder may be replaced
between two processes. A run's own files have their sha256 in the ledger since their unit. Of the
models that the recipe names, which lie elsewhere, the hashes are kept when they are first read.

Left out: clips, whose name is their hash (`clips.py`), and checkpoints (`checkpoint.py`).
"""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from dualipo.amounts import listed
from dualipo.errors import DataError, ModelError
from dualipo.store import atomic
from dualipo.store.ledger import Ledger

_NOT_READ = (".md", ".gitattributes")  # files of a model's folder that no model is read from


class FileHashes:
    """The hashes of a run's files and of the models it began with, and which were compared."""

    def __init__(self, run_path: Path, ledger: Ledger) -> None:
        self._run_path = run_path
        self._ledger = ledger
        self._compared: set[str] = set()

    def add(self, names: Mapping[str, str]) -> None:
        """Take files as compared that this process has hashed for the ledger."""
        self._compared.update(names)

    def checked(self, path: Path) -> Path:
        """Return a file or folder of the run; raise DataError where one differs from the ledger."""
        name = path.relative_to(self._run_path).as_posix()
        if name not in self._compared:
            known = self._ledger.files_at(name)
            if not known:
                raise DataError(f"{path}: no unit of the ledger made it. Repeat its stage.")
            for file_name, sha256 in known.items():
                if file_name not in self._compared:
                    self._compare(self._run_path / file_name, sha256)
            self._compared.update((name, *known))
        return path

    def checked_model(self, folder: Path, name: str) -> Path:
        """Return a model's folder outside the run; raise ModelError where it has become another.

        `name` says what the run takes the model for: "generator" or "critic".
        """
        if name not in self._compared:
            now = folder_hashes(folder)
            kept = self._ledger.read_record(f"model.{name}")
            if kept is None:
                self._ledger.write_record(f"model.{name}", now)
            elif kept != now:
                changed = sorted({file for file, _ in {*kept.items()} ^ {*now.items()}})
                raise ModelError(
                    f"{folder}: this is not the {name} that the run began with, as "
                    f"{listed(changed)} differ. Put the folder back as it was, or begin another "
                    "run with another output_dir."
                )
            self._compared.add(name)
        return folder

    def _compare(self, path: Path, sha256: str) -> None:
        if not path.is_file():
            raise DataError(f"{path}: no such file. Restore it from a backup, or redo its round.")
        if (now := atomic.sha256_file(path)) != sha256:
            raise DataError(
                f"{path}: its sha256 is {now[:12]}, the ledger says {sha256[:12]}: the file was "
                "changed or damaged. Restore it from a backup, or begin a run with another "
                "output_dir."
            )


def folder_hashes(folder: Path) -> dict[str, str]:
    """Return the sha256 of every file that a model may be read from, by its name in the folder."""
    return {
        path.relative_to(folder).as_posix(): atomic.sha256_file(path) for path in _files(folder)
    }


def _files(folder: Path) -> Iterator[Path]:
    # A download's cache holds symbolic links, also to folders, and these may run in a loop.
    seen: set[str] = set()
    for parent, folders, names in os.walk(folder, followlinks=True):
        seen.add(os.path.realpath(parent))
        folders[:] = [
            name
            for name in folders
            if not name.startswith(".") and os.path.realpath(Path(parent, name)) not in seen
        ]
        for name in names:
            path = Path(parent, name)
            if not name.startswith(".") and not name.endswith(_NOT_READ) and path.is_file():
                yield path
