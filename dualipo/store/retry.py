"""Throws away a critic's unreadable answers, so that the next start asks for them alone.

    answered-*.parquet   the readable answers of the units that go, committed with a unit "retried"
    one transaction      the units that hold an unreadable answer, and all that followed (`redo.py`)

The next start votes on the items of those units again, and takes every answer that it has already
from the first table. A kill in between leaves both, and loses nothing.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from dualipo.errors import ConfigError
from dualipo.records import Vote
from dualipo.store import atomic, redo
from dualipo.store.ledger import Ledger, Unit
from dualipo.store.redo import Discarded
from dualipo.store.run_paths import attempt_path

VOTING = ("score", "confirm")
ShardVotes = dict[Unit, list[Vote]]


def prepare(path: Path, ledger: Ledger) -> tuple[Discarded, str]:
    """Keep the readable answers of the round under way; return what goes, and a line about it."""
    after = redo.plan(path, ledger, "judge")
    cast = _votes(path, ledger, [unit for unit in after.units if unit.stage in VOTING])
    going = _going(cast)
    if not going:
        raise ConfigError(
            f"{path}: no answer of the critic in the round under way is unreadable, so there is "
            "none to ask for again. Leave out --retry-abstained."
        )
    kept = {*cast} - {*going}
    units = [u for u in after.units if u not in kept and u.stage not in ("check", redo.RETRIED)]
    answered = {unit: [vote for vote in cast[unit] if vote.outcome != "abstain"] for unit in going}
    _keep(path, ledger, answered)
    gone = replace(after, units=units, voted=[pair for pair in after.voted if pair[0] in {*units}])
    num_kept = sum(map(len, answered.values()))
    num_unread = sum(len(cast[unit]) for unit in going) - num_kept
    return gone, (
        f"asks for {num_unread} unreadable answers again and keeps {num_kept} of the same "
        f"batches; {gone.text()}"
    )


def answered_path(attempt_folder: Path, stage: str, index: int) -> Path:
    """Return the table of answers that a retry kept of a voting stage."""
    return attempt_folder / stage / f"answered-{index:04d}.parquet"


def _votes(path: Path, ledger: Ledger, units: Sequence[Unit]) -> ShardVotes:
    from dualipo.store import tables  # imports pyarrow

    owners = {unit: name for name, unit in ledger.owners().items() if "/votes-" in name}
    return {u: tables.read_records(path / owners[u], record_type=Vote) for u in units}


def _going(cast: ShardVotes) -> list[Unit]:
    """Return the units that go: those with an unreadable answer, and votes on other contests.

    Where a clip's grade changes, the best and the worst of its caption may be others.
    """
    unread = [unit for unit, votes in cast.items() if any(v.outcome == "abstain" for v in votes)]
    grades_change = any(unit.stage == "score" for unit in unread)
    return [u for u in cast if u in unread or (grades_change and u.stage == "confirm")]


def _keep(path: Path, ledger: Ledger, answered: ShardVotes) -> None:
    from dualipo.store import tables

    unit = next(iter(answered))
    index = sum(each.stage == redo.RETRIED for each in ledger.units())
    by_stage: dict[str, list[Vote]] = defaultdict(list)
    for each, votes in answered.items():
        by_stage[each.stage] += votes
    files = {}
    for stage, votes in by_stage.items():
        folder = attempt_path(path, unit.round, unit.attempt)
        table = answered_path(folder, stage, index)
        tables.write_records(table, votes, record_type=Vote)
        files[table.relative_to(path).as_posix()] = atomic.sha256_file(table)
    ledger.commit_unit(Unit(unit.round, unit.attempt, redo.RETRIED, index), files=files)
