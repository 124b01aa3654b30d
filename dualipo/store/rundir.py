"""The run directory: it is created or resumed, locked, and swept of files without a ledger row.

    run.json config.json LOCK ledger.sqlite metrics.jsonl report.html clips/ latents/
    rounds/000/attempt-0/  logs/attempt-N.log

A folder named `checkpoints` below `rounds/` belongs to a training stage: its files have no rows,
and the sweep leaves them until what stands beside it was committed. Everything else there without
a row is garbage.
"""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from dualipo import tracking
from dualipo.config import MAY_CHANGE, Config, leaves, without_retired
from dualipo.errors import ConfigError, DataError
from dualipo.records import SCHEMA_VERSION
from dualipo.store import atomic
from dualipo.store.ledger import Ledger
from dualipo.store.lock import Lock

SWEPT_FOLDERS = ("clips", "latents", "rounds")
CHECKPOINTS = "checkpoints"
LEDGER = "ledger.sqlite"
MARKER = "run.json"

_KIND = "dualipo run"
# The folder is the run's identity, however it is spelled and wherever it was moved.
_MAY_CHANGE = {*MAY_CHANGE, "output_dir"}


class RunDir:
    """An open run directory, from `RunDir.open` until `close`."""

    def __init__(self, path: Path, *, lock: Lock) -> None:
        self.path = path
        self._lock = lock
        self.attempt = 1 + max(self._past_attempts(), default=0)
        with atomic.storage_errors(self.log_path):
            self.log_path.parent.mkdir(exist_ok=True)
            self.log_path.touch()
        self.ledger = Ledger(path / LEDGER)

    @classmethod
    def open(cls, path: Path, config: Config) -> "RunDir":
        """Create the run at `path`, or resume it if the configuration is the same (fault 47)."""
        _refuse_foreign(path)
        atomic.make_folder(path)
        lock = Lock.acquire(path / "LOCK")
        try:
            _settle_config(path, config)
            return cls(path, lock=lock)
        except BaseException:  # an interrupt as well: a lock left behind would refuse the next run
            lock.release()
            raise

    def close(self) -> None:
        """Close the ledger and let the next process in."""
        self.ledger.close()
        self._lock.release()

    @property
    def log_path(self) -> Path:
        """Return this process's own log; each process that opens the run gets the next number."""
        return self.path / "logs" / f"attempt-{self.attempt}.log"

    @property
    def metrics_path(self) -> Path:
        """Return the file of training curves and signals: one JSON object a line."""
        return self.path / "metrics.jsonl"

    @property
    def report_path(self) -> Path:
        """Return the report that people read."""
        return self.path / "report.html"

    @property
    def clips_path(self) -> Path:
        """Return the folder of the clip store (`store/clips.py`)."""
        return self.path / "clips"

    def round_path(self, round: int) -> Path:
        """Return the folder that all attempts of a round share; round -1 precedes the first."""
        return self.path / "rounds" / (f"{round:03d}" if round >= 0 else "base")

    def attempt_path(self, round: int, attempt: int) -> Path:
        """Return the folder of one attempt: its preferences, weights and signals."""
        return self.round_path(round) / f"attempt-{attempt}"

    def relative(self, path: Path) -> str:
        """Return the ledger's spelling of a path inside the run."""
        return path.relative_to(self.path).as_posix()

    def sweep(self) -> list[str]:
        """Delete temporaries and files without a row, and return their names (fault 3).

        A row without its file is damage that cannot be mended: it raises DataError.
        """
        known = self.ledger.files()
        for name in known:
            if not (self.path / name).is_file():
                raise DataError(
                    f"{self.path / name}: the ledger has it, the disk has not. Restore it from a "
                    "backup, or start again with another output_dir."
                )
        with atomic.storage_errors(self.path):
            return sorted(self._remove_unknown(known))

    def _remove_unknown(self, known: dict[str, str]) -> Iterator[str]:
        folders = (self.path / name for name in SWEPT_FOLDERS)
        # Deepest first, so that a folder which became empty goes too.
        inner = (path for folder in folders for path in sorted(folder.rglob("*"), reverse=True))
        for path in [*inner, *self.path.glob(f"{atomic.TEMPORARY_PREFIX}*")]:
            name = self.relative(path)
            temporary = any(part.startswith(atomic.TEMPORARY_PREFIX) for part in name.split("/"))
            if name in known or (not temporary and _is_needed(name, known)):
                continue
            if not path.is_dir() or path.is_symlink():
                path.unlink()
                yield name
            elif not any(path.iterdir()):
                path.rmdir()

    def _past_attempts(self) -> Iterator[int]:
        for log in (self.path / "logs").glob("attempt-*.log"):
            yield int(log.stem.removeprefix("attempt-"))


def remove_checkpoints(folder: Path) -> None:
    """Delete a finished stage's `checkpoints` folder; call it after the stage's commit."""
    assert folder.name == CHECKPOINTS, folder
    if folder.exists():
        shutil.rmtree(folder)


def _is_needed(name: str, known: dict[str, str]) -> bool:
    """Tell whether a path is in the `checkpoints` of a stage that has published nothing yet."""
    stage, separator, _ = f"{name}/".partition(f"/{CHECKPOINTS}/")
    return bool(separator) and not any(other.startswith(f"{stage}/") for other in known)


def _refuse_foreign(path: Path) -> None:
    """Refuse a folder that holds anything but a run; one with a LOCK alone is a run just begun."""
    if not path.exists() or (path / MARKER).exists():
        return
    own = ("LOCK", atomic.TEMPORARY_PREFIX)
    if not path.is_dir() or any(not inner.name.startswith(own) for inner in path.iterdir()):
        raise ConfigError(
            f"{path}: in use, and not a dualipo run. Resume the run you meant by its folder, "
            "choose another name with output_dir, or delete this one."
        )


def _settle_config(path: Path, config: Config) -> None:
    """Write the configuration of a new run; on resume allow only what may change."""
    now = tracking.redact(leaves(config))
    marker_path, config_path = path / MARKER, path / "config.json"
    if marker_path.exists():
        require_run(path)
    else:
        atomic.write_json(marker_path, {"kind": _KIND, "schema_version": SCHEMA_VERSION})
    if config_path.exists():
        _check_diff(path, now)
    atomic.write_json(config_path, now)


def require_run(path: Path) -> None:
    """Raise a ConfigError where `path` is no run's folder, a DataError where its run is newer."""
    if not (path / MARKER).is_file():
        raise ConfigError(
            f"{path}: there is no run here, as it has no {MARKER}. Name the folder of a run, which "
            "is its recipe's output_dir, or begin one with `dualipo run RECIPE`."
        )
    marker = atomic.read_json(path / MARKER)
    if marker.get("kind") != _KIND:
        raise ConfigError(
            f"{path}: not a dualipo run, as its {MARKER} is another program's. Name another folder."
        )
    if marker["schema_version"] > SCHEMA_VERSION:
        raise DataError(
            f"{path}: schema version {marker['schema_version']}, this program knows "
            f"{SCHEMA_VERSION}. Use the newer dualipo that wrote it."
        )


def _check_diff(path: Path, now: dict[str, Any]) -> None:
    # A key that an older program did not know had today's default.
    written = atomic.read_json(path / "config.json")
    known = without_retired(written, subject=str(path / "config.json"))
    before = tracking.redact(leaves(Config())) | known
    changed = [
        f"  {key}: {before.get(key)!r} -> {now.get(key)!r}"
        for key in sorted(before.keys() | now.keys())
        if before.get(key) != now.get(key) and key not in _MAY_CHANGE
    ]
    if changed:
        raise ConfigError(
            "\n".join([f"{path}: the run was begun with another configuration:", *changed])
            + f"\nResume it with the old configuration ({path / 'config.json'}), choose another "
            f"name with output_dir, or start clean by deleting {path}. A resumed run may change "
            f"only {', '.join(MAY_CHANGE)}."
        )
