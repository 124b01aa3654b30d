"""Copies of a run that has begun no round, so that ablations share all that precedes round 0.

Seed clips, labels, warm start and base measurements depend on neither the alignment, nor the
critic's checks, nor the refresh. A run that ended before round 0 (`rounds=0`) is copied, and the
copy goes on with other settings of these. A change of any other setting is refused, since what was
computed depends on it.
"""

import shutil
from pathlib import Path
from typing import Any

from dualipo import redaction
from dualipo.config import Config, leaves
from dualipo.errors import ConfigError
from dualipo.store import atomic
from dualipo.store.ledger import Ledger
from dualipo.store.lock import Lock
from dualipo.store.run_reader import RunReader
from dualipo.store.rundir import CONFIG, LEDGER, SETTINGS

# Settings that nothing reads before round 0.
LATER = (
    *("align.", "refresh.", "critic.check.", "rounds", "verdicts", "prompts.num_prompts"),
    *("output_dir", "report_to", "logging_dir", "push_to_hub", "hub_model_id"),
)
# Not copied. Trackers' files neither: their curves belong to the run that sent them.
_OWN = (
    *("LOCK*", "logs", "report.html", f"{atomic.TEMPORARY_PREFIX}*"),
    *("tensorboard", "wandb", "trackio"),
)


def fork(source: Path, target: Path, config: Config) -> None:
    """Copy the run at `source`, which has begun no round, to `target`, to go on with `config`."""
    if target.exists():
        raise ConfigError(f"{target}: exists already. Name a new folder for the copy.")
    now = redaction.redact(leaves(config))
    before = RunReader(source).settings
    fixed = [k for k in now if now[k] != before.get(k) and not k.startswith(LATER)]
    if fixed:
        raise ConfigError(
            f"{source}: its work so far depends on {', '.join(fixed)}. A fork may change only "
            f"{', '.join(LATER)}; for other changes begin a run of its own."
        )
    lock = Lock.acquire(source / "LOCK")
    try:
        _require_no_round(source)
        with atomic.publish_folder(target, name="fork") as temporary:
            ignored = shutil.ignore_patterns(*_OWN)
            shutil.copytree(source, temporary, ignore=ignored, dirs_exist_ok=True)
            _keep_settings(temporary, now)
    finally:
        lock.release()


def _keep_settings(copy: Path, settings: dict[str, Any]) -> None:
    atomic.write_json(copy / CONFIG, settings, is_private=True)
    ledger = Ledger(copy / LEDGER)
    ledger.write_record(SETTINGS, settings)
    ledger.close()


def _require_no_round(source: Path) -> None:
    ledger = Ledger(source / LEDGER)  # not read-only: it folds what a kill left over
    try:
        begun = [unit.round for unit, _ in ledger.events() if unit.round >= 0]
    finally:
        ledger.close()
    if begun:
        raise ConfigError(
            f"{source}: round {min(begun)} was begun, and its work depends on the settings. Fork "
            "a run that was made with rounds=0."
        )
