"""The embedded models' files, and the manifest of their hashes that ships beside them."""

from importlib.resources import files
from pathlib import Path

from dualipo.errors import DataError
from dualipo.store import atomic

FOLDER = Path(str(files("dualipo.world") / "weights"))
MANIFEST = "manifest.json"


def write_manifest(folder: Path) -> None:
    """Write the sha256 of every file below `folder` into its manifest."""
    hashes = {
        path.relative_to(folder).as_posix(): atomic.sha256_file(path) for path in _all(folder)
    }
    atomic.write_json(folder / MANIFEST, hashes)


def damage(folder: Path) -> list[str]:
    """Say what is missing or differs from the manifest; the list is empty when all is well."""
    try:
        hashes = atomic.read_json(folder / MANIFEST)
    except DataError:
        return [f"{MANIFEST} is missing or torn"]
    missing = [f"{name} is missing" for name in hashes if not (folder / name).is_file()]
    paths = {name: folder / name for name in hashes if (folder / name).is_file()}
    return missing + [
        f"{name} has other content"
        for name, path in paths.items()
        if atomic.sha256_file(path) != hashes[name]
    ]


def _all(folder: Path) -> list[Path]:
    return sorted(p for p in folder.rglob("*") if p.is_file() and p != folder / MANIFEST)
