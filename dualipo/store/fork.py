"""Copies of a run that share what it has sampled and judged, to go on with other settings.

A fork keeps all units, or those before a stage of a round. Settings may change that nothing which
is kept has read (`settled.py`): a run that ended before round 0 (`rounds=0`) is the common past of
ablations, and a fork from a round's alignment trains again on preferences that are paid for.

Published files are never written again, so that the copy has hard links to them where it can.
"""

import os
import shutil
from pathlib import Path

from dualipo.config import Config
from dualipo.errors import ConfigError
from dualipo.events import KeepBestEvent
from dualipo.stages import Redo
from dualipo.store import atomic, redo, settled
from dualipo.store.ledger import Ledger, Unit
from dualipo.store.lock import Lock
from dualipo.store.rundir import LEDGER, SWEPT_FOLDERS

# Not copied. Trackers' files neither: their curves belong to the run that sent them.
_OWN = (
    *("LOCK*", "logs", "report.html", f"{atomic.TEMPORARY_PREFIX}*"),
    *("tensorboard", "wandb", "trackio"),
)


def fork(
    source: Path,
    target: Path,
    config: Config,
    *,
    from_round: int | None = None,
    stage: Redo | None = None,
    kept: tuple[int, str] | None = None,
) -> None:
    """Copy the run at `source` to `target`, to go on with `config`.

    With a `stage`, the copy lacks that stage of `from_round`, and all that followed. `kept` is the
    round and the id of an earlier generator, from which the next round of the copy goes on.
    """
    if target.exists():
        raise ConfigError(f"{target}: exists already. Name a new folder for the copy.")
    lock = Lock.acquire(source / "LOCK")
    try:
        with atomic.publish_folder(target, name="fork") as temporary:
            _copy(source, temporary)
            ledger = Ledger(temporary / LEDGER)  # it folds what a kill left over
            try:
                if stage is not None:
                    gone = redo.plan(temporary, ledger, stage, round=from_round)
                    redo.discard(temporary, ledger, gone)
                if kept is not None:
                    _keep(ledger, *kept)
                how = f"--from-round {max(settled.under_way(ledger)[0], 0)} --stage"
                settled.settle(temporary, ledger, config, subject=source, redo=how)
            finally:
                ledger.close()
    finally:
        lock.release()


def _keep(ledger: Ledger, round: int, version: str) -> None:
    """Let an earlier generator serve, and the next round go on from it."""
    next_round, _ = settled.under_way(ledger)
    last = next_round - 1
    unit = Unit(last, settled.attempt_of(ledger, last), "keep_best")
    if not ledger.is_done(unit):
        event = KeepBestEvent(round=round, generator_version=version)
        ledger.commit_unit(unit, events=[event], heads={"generator": version})


def _copy(source: Path, target: Path) -> None:
    """Copy a run's folder; what it sampled and published is linked where it can be."""
    linked = tuple(f"{source / name}{os.sep}" for name in SWEPT_FOLDERS)

    def put(given: str, wanted: str) -> None:
        if given.startswith(linked):
            try:
                os.link(given, wanted)
                return
            except OSError:  # another disk, or one that has no links
                pass
        shutil.copy2(given, wanted)

    ignored = shutil.ignore_patterns(*_OWN)
    shutil.copytree(source, target, ignore=ignored, dirs_exist_ok=True, copy_function=put)
