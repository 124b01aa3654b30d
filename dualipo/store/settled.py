"""The settings of a run, kept in its ledger; each is frozen by the first unit that reads it.

On resume a setting may differ while no stage has read it, in the run or in the round under way
(`config/uses.py`). What changed is recorded with the round from which it holds. One that was read
is refused, with the command that throws away what depends on it (`redo.py`).
"""

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from dualipo.config import Config, in_short, leaves, without_retired
from dualipo.config.uses import Use, use_of
from dualipo.errors import ConfigError, DataError
from dualipo.events import RefreshEvent, SettingsEvent
from dualipo.redaction import redact
from dualipo.stages import REDOABLE, redo_of
from dualipo.store import atomic, ledger_backup
from dualipo.store.ledger import Ledger, Unit
from dualipo.store.run_paths import attempt_path

BASE_ROUND = -1
RECORD = "settings"  # the ledger's record of them
CONFIG = "config.json"
REDO = "--redo"
CHANGE = "settings"  # the stage of the units that record changes
# The folders of the stages that train, and what is in them until the stage commits its unit.
UNFINISHED = ("checkpoints", "reference.safetensors")
TRAINED = {
    "warm_start_sft": "warm_start_sft",
    "warm_start_dpo": "warm_start_dpo",
    "align": "generator",
    "refresh": "critic",
}


def settle(
    path: Path, ledger: Ledger, config: Config, *, subject: Path | None = None, redo: str = REDO
) -> None:
    """Keep the settings in the ledger and in config.json; refuse a change of one that was read.

    `subject` is the run that the error names, by default that at `path`, and `redo` its remedy.
    """
    now = redact(leaves(config))
    before = settings_before(path, ledger)
    if before is not None:
        changed = changes(path, before, now)
        require_unread(path, ledger, changed, subject=subject or path, redo=redo)
        if recorded := {key: change for key, change in changed.items() if use_of(key)}:
            _record(ledger, recorded)
    atomic.write_json(path / CONFIG, now, is_private=True)
    ledger.write_record(RECORD, now)


def changes(
    path: Path, written: Mapping[str, Any], now: Mapping[str, Any]
) -> dict[str, tuple[Any, Any]]:
    """Return what differs from the settings that were written: before and now, by key."""
    # A key that an older program did not know had today's default.
    known = without_retired(dict(written), subject=str(path / CONFIG))
    before = redact(leaves(Config())) | known
    keys = sorted(before.keys() | now.keys())
    return {key: (before.get(key), now.get(key)) for key in keys if before.get(key) != now.get(key)}


def require_unread(
    path: Path,
    ledger: Ledger,
    changed: Mapping[str, tuple[Any, Any]],
    *,
    subject: Path,
    redo: str = REDO,
) -> None:
    """Raise a ConfigError that names every changed setting which a stage has read already."""
    if not changed:
        return
    units, place = ledger.units(), under_way(ledger)
    refused, readers = [], []
    for key, (before, now) in changed.items():
        use = use_of(key)
        if use is not None and (stage := _reader(path, use, units, place)) is not None:
            change = f"{in_short(before)!r} -> {in_short(now)!r}"
            refused.append(f"  {key}: {change} (read by the stage {stage})")
            readers.append(stage)
    if refused:
        raise ConfigError(
            "\n".join([f"{subject}: settings were changed that it has used already:", *refused])
            + f"\nResume it as it was (`dualipo resume {subject}`), {_remedy(readers, redo)}or "
            "choose another name with output_dir."
        )


def _remedy(readers: Collection[str], redo: str) -> str:
    """Return the remedy of throwing away what read the settings; nothing where it cannot be."""
    commands = [word for stage in readers if (word := redo_of(stage))]
    if len(commands) < len(readers):
        return ""
    first = min(commands, key=list(REDOABLE).index)
    return f"repeat the command with `{redo} {first}`, which throws away what depends on them, "


def under_way(ledger: Ledger) -> tuple[int, int]:
    """Return the round and the attempt that are under way, or come next; -1 is before round 0."""
    newest = ledger.newest_round(apart_from=CHANGE)
    last = BASE_ROUND if newest is None else newest
    attempt = attempt_of(ledger, last)
    is_over = ledger.is_done(Unit(last, attempt, "scores"))
    return (last + 1, 0) if is_over else (last, attempt)


def attempt_of(ledger: Ledger, round: int) -> int:
    """Return the attempt that a round is in: 1 once its critic was refreshed, else 0."""
    refreshes = ledger.events(RefreshEvent)
    return int(any(u.round == round and r.outcome == "refreshed" for u, r in refreshes))


def settings_before(path: Path, ledger: Ledger) -> dict[str, Any] | None:
    """Return the settings that a run was begun with; None for a new run.

    The ledger of an older program has none, so there config.json must be there.
    """
    kept: dict[str, Any] | None = ledger.read_record(RECORD)
    if not isinstance(kept, dict | None):
        raise ledger_backup.damaged(ledger.path, "its settings are no table")
    if kept is None and (path / CONFIG).exists():
        return dict(atomic.read_json(path / CONFIG))
    if kept is None and ledger.newest_round() is not None:
        raise DataError(
            f"{path / CONFIG}: no such file, and the ledger, which an older dualipo wrote, has no "
            "settings, so nobody knows which ones the run was begun with. Restore the file from a "
            "backup, or begin a run with another output_dir."
        )
    return kept


def _record(ledger: Ledger, changed: Mapping[str, tuple[Any, Any]]) -> None:
    """Commit what changed, and from which round it holds; nothing where no unit is there yet."""
    units = ledger.units()
    if not units:
        return
    index = sum(unit.stage == CHANGE for unit in units)
    event = SettingsEvent(
        from_round=under_way(ledger)[0],
        before={key: before for key, (before, _) in changed.items()},
        now={key: now for key, (_, now) in changed.items()},
    )
    ledger.commit_unit(Unit(BASE_ROUND, 0, CHANGE, index), events=[event])


def _reader(path: Path, use: Use, units: Collection[Unit], place: tuple[int, int]) -> str | None:
    """Return the stage that has read a setting, in the run or in the attempt under way."""
    for stage in use.stages:
        readers = [unit for unit in units if f"{unit.stage}.".startswith(f"{stage}.")]
        if use.is_of_round:
            # The prompts and clips of a round are of its first attempt, and serve the second too.
            of_round = stage in ("prompts", "sample.candidates")
            own = (place[0], 0 if of_round else place[1])
            readers = [unit for unit in readers if (unit.round, unit.attempt) == own]
        if readers or _is_training(path, stage, place):
            return stage
    return None


def _is_training(path: Path, stage: str, place: tuple[int, int]) -> bool:
    if stage not in TRAINED:
        return False
    folder = attempt_path(path, *place) / TRAINED[stage]
    return any((folder / name).exists() for name in UNFINISHED)
