"""The run directory: it is created or resumed, locked, and swept of files without a ledger row.

    run.json config.json LOCK ledger.sqlite units.count backups/ metrics.jsonl report.html
    clips/ latents/ rounds/000/attempt-0/ logs/attempt-N.log

The ledger keeps the settings; `config.json` shows them to people and is written anew at each start.
A folder named `checkpoints` below `rounds/` belongs to a training stage: its files have no rows,
and the sweep leaves them until what stands beside it was committed. Everything else there without
a row is garbage.
"""

import json
import os
import shlex
import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

from dualipo import attempt_log, text_files
from dualipo.config import Config
from dualipo.errors import ConfigError, DataError, DualipoError, StorageError
from dualipo.records import SCHEMA_VERSION
from dualipo.stages import Again
from dualipo.store import atomic, ledger_backup, redo, retry, run_paths, settled
from dualipo.store.ledger import Ledger
from dualipo.store.ledger_backup import COUNT, LEDGER
from dualipo.store.ledger_backup import WORK_FOLDERS as SWEPT_FOLDERS
from dualipo.store.lock import Lock

CHECKPOINTS = "checkpoints"
LOCK = "LOCK"
MARKER = "run.json"
TUNING = "tuning.json"  # beside the marker where the run is a tuning: the command that goes on

_KIND = "dualipo run"
_MARK = {"kind": _KIND, "schema_version": SCHEMA_VERSION}
_TEMPORARY = atomic.TEMPORARY_PREFIX


class RunDir:
    """An open run directory, from `RunDir.open` until `close`."""

    def __init__(self, path: Path, *, lock: Lock, ledger: Ledger) -> None:
        self.path = path
        self.ledger = ledger
        self.discarded: str | None = None
        self._lock = lock
        past_logs = attempt_log.numbered(self.path / "logs")
        self.attempt = 1 + max((number for number, _ in past_logs), default=0)
        with atomic.storage_errors(self.log_path):
            self.log_path.parent.mkdir(exist_ok=True)
            self.log_path.touch()

    @classmethod
    def open(cls, path: Path, config: Config, *, again: Again | None = None) -> "RunDir":
        """Create the run at `path`, or resume it if no setting that was read differs (fault 47).

        `again` throws a stage of the round under way away first, and what followed it; or the
        critic's unreadable answers.
        The ledger is made before the marker, so that a folder with a marker had a ledger.
        """
        with atomic.storage_errors(path):
            _refuse_foreign(path)
            atomic.make_folder(path)
        with ExitStack() as on_failure:  # an interrupt too: a lock left behind refuses the next run
            lock = Lock.acquire(path / LOCK)
            on_failure.callback(lock.release)
            if (path / MARKER).exists():
                require_run(path)
                ledger_backup.require_whole(path)
            ledger = Ledger(path / LEDGER)
            on_failure.callback(ledger.close)
            if not (path / MARKER).exists():
                atomic.write_json(path / MARKER, _MARK)
            discarded = _discard(path, ledger, again)
            settled.settle(path, ledger, config)
            run = cls(path, lock=lock, ledger=ledger)
            run.discarded = discarded
            on_failure.pop_all()
        return run

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
        return run_paths.round_path(self.path, round)

    def attempt_path(self, round: int, attempt: int) -> Path:
        """Return the folder of one attempt: its preferences, weights and signals."""
        return run_paths.attempt_path(self.path, round, attempt)

    def relative(self, path: Path) -> str:
        """Return the ledger's spelling of a path inside the run."""
        return path.relative_to(self.path).as_posix()

    def back_up(self, round: int) -> None:
        """Back the ledger up before a round begins."""
        ledger_backup.make(self.path, round, self.ledger.backup)

    def sweep(self) -> list[str]:
        """Delete temporaries and files without a row, and return their names (fault 3).

        A row without its file is damage that cannot be mended: it raises DataError. A clip can be
        done without (`missing_clips`).
        """
        for name in self.ledger.each_file_but_clips():
            if not os.path.isfile(f"{self.path}/{name}"):
                raise DataError(
                    f"{self.path / name}: the ledger has it, the disk has not. Restore it from a "
                    "backup, or start again with another output_dir."
                )
        with atomic.storage_errors(self.path):
            return sorted(self._remove_unknown())

    def sweep_temporaries(self) -> None:
        """Delete what is half-written; call it when nobody writes in the run's folders any more."""
        with atomic.storage_errors(self.path):
            for folder in SWEPT_FOLDERS:
                for parent, folders, names in os.walk(self.path / folder, topdown=False):
                    for name in (*names, *folders):
                        if name.startswith(_TEMPORARY):
                            _remove(f"{parent}/{name}")

    def missing_clips(self) -> list[str]:
        """Return the sha256 of every clip that the ledger has and the disk has not."""
        from dualipo.store.clips import ClipStore  # the decoder, which a reader may not need

        store = ClipStore(self.clips_path)
        return sorted(clip for clip in self.ledger.each_clip() if not store.path(clip).is_file())

    def _remove_unknown(self) -> Iterator[str]:
        for folder in SWEPT_FOLDERS:
            # Deepest first, so that a folder which became empty goes too.
            for parent, folders, names in os.walk(self.path / folder, topdown=False):
                for name in (*names, *folders):
                    yield from self._remove_if_unknown(f"{parent}/{name}")
        for path in self.path.glob(f"{_TEMPORARY}*"):
            yield from self._remove_if_unknown(str(path))

    def _remove_if_unknown(self, path: str) -> Iterator[str]:
        """Delete a file that has no row, and yield its name; delete a folder that is empty."""
        name = path.removeprefix(str(self.path / "x")[:-1])
        is_temporary = name.startswith(_TEMPORARY) or f"/{_TEMPORARY}" in name
        if self.ledger.has_file(name) or (not is_temporary and self._is_needed(name)):
            return
        if not os.path.isdir(path) or os.path.islink(path):
            os.unlink(path)
            yield name
        elif not any(os.scandir(path)):
            os.rmdir(path)

    def _is_needed(self, name: str) -> bool:
        """Tell whether a path is in the `checkpoints` of a stage that has published nothing yet."""
        stage, separator, _ = f"{name}/".partition(f"/{CHECKPOINTS}/")
        return bool(separator) and not self.ledger.has_files_below(stage)


def _remove(path: str) -> None:
    if os.path.isdir(path) and not os.path.islink(path):
        shutil.rmtree(path)
    else:
        os.unlink(path)


def remove_checkpoints(folder: Path) -> None:
    """Delete a finished stage's `checkpoints` folder; call it after the stage's commit."""
    assert folder.name == CHECKPOINTS, folder
    if folder.exists():
        shutil.rmtree(folder)


def refusals(path: Path) -> Iterator[DualipoError]:
    """Yield why no run could be begun or resumed at `path`; nothing is written."""
    try:
        _refuse_foreign(path)
        if (path / MARKER).exists():
            require_run(path)
    except DualipoError as refusal:
        yield refusal
    above = next(parent for parent in (path, *path.absolute().parents) if parent.exists())
    if above.is_dir() and not os.access(above, os.W_OK | os.X_OK):
        yield StorageError(
            f"{path}: {above} is not writable. Grant write permission, or choose another "
            "output_dir."
        )


def _refuse_foreign(path: Path) -> None:
    """Refuse a folder that holds anything but a run; a run just begun has no marker yet."""
    if not path.exists() or (path / MARKER).exists():
        return
    own = (LOCK, LEDGER, COUNT, atomic.TEMPORARY_PREFIX)
    if not path.is_dir() or any(not inner.name.startswith(own) for inner in path.iterdir()):
        raise ConfigError(
            f"{path}: in use, and not a dualipo run. Resume the run you meant by its folder, "
            "choose another name with output_dir, or delete this one."
        )


def require_run(path: Path) -> None:
    """Raise a ConfigError where `path` is no run's folder, a DataError where its run is newer."""
    if not (path / MARKER).is_file():
        raise ConfigError(
            f"{path}: there is no run here, as it has no {MARKER}. Name the folder of a run, which "
            "is its recipe's output_dir, or begin one with `dualipo run RECIPE`."
        )
    remedy = f"Replace what is in it by {json.dumps(_MARK)}: the run itself is in its ledger."
    marker = text_files.read_json(path / MARKER, remedy=remedy, shape=dict)
    if marker.get("kind") != _KIND:
        raise ConfigError(
            f"{path}: not a dualipo run, as its {MARKER} is another program's. Name another folder."
        )
    version = marker.get("schema_version")
    if type(version) is not int or version < 1:
        raise DataError(f"{path / MARKER}: its schema_version is no whole number. {remedy}")
    if version > SCHEMA_VERSION:
        raise DataError(
            f"{path}: schema version {version}, this program knows {SCHEMA_VERSION}. Use the newer "
            "dualipo that wrote it."
        )


def refuse_busy(path: Path) -> None:
    """Raise RunLocked where another process has the run, before anything slow is looked at."""
    if (path / LOCK).exists():
        Lock.acquire(path / LOCK).release()


def refuse_tuning(path: Path) -> None:
    """Raise a ConfigError where the run at `path` is a tuning, which has no rounds."""
    if (path / TUNING).is_file():
        fact = f"{path}: this is a tuning, which has no rounds."
        try:
            command = shlex.join(atomic.read_json(path / TUNING)["command"])
        except (DataError, KeyError, TypeError):  # people edit what they should not
            raise ConfigError(f"{fact} Repeat the `dualipo tune` command that began it.") from None
        raise ConfigError(f"{fact} Repeat the command that began it:\n  {command}")


def _discard(path: Path, ledger: Ledger, again: Again | None) -> str | None:
    """Throw away what is to be done anew, and return a line about it; None for nothing."""
    if again is None:
        return None
    if again == "abstained":
        gone, line = retry.prepare(path, ledger)
    else:
        gone = redo.plan(path, ledger, again)
        line = gone.text()
    if gone is not None:
        redo.discard(path, ledger, gone)
    return line
