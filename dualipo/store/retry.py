"""Throws away a critic's unreadable answers, so that the next start asks for them alone.

    answered-*.parquet   the readable answers of the units that go
    one transaction      those answers, as a unit, in place of the units that hold an unreadable
                         answer and of all that followed (`redo.py`)

The next start votes on the items of those units again, and takes every answer that it has already
from the first table. A kill before the transaction leaves the run as it was, and the table has no
row; a kill after it leaves a run that asks again. So the same command may be repeated.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from dualipo.records import Vote
from dualipo.stages import Redo
from dualipo.store import atomic, redo, settled
from dualipo.store.ledger import Ledger, Unit
from dualipo.store.redo import Discarded
from dualipo.store.run_paths import attempt_path

# The stages whose votes are asked for again, and those of the units that keep their other answers.
VOTING = {
    "score": redo.RETRIED,
    "confirm": redo.RETRIED,
    "win_rate": redo.RETRIED_WINS,
}
# What is redone for them, and what of it stays, as it does not depend on an answer.
REDONE: dict[str, tuple[Redo, tuple[str, ...]]] = {
    redo.RETRIED: ("judge", ("check", redo.RETRIED)),
    redo.RETRIED_WINS: ("evaluate", ("suite", "clip_metrics", redo.RETRIED_WINS)),
}
ShardVotes = dict[Unit, list[Vote]]


def prepare(path: Path, ledger: Ledger) -> tuple[Discarded | None, str]:
    """Return what goes of the round under way, None for nothing, and a line about it."""
    cast = _votes(path, ledger)
    unread = [unit for unit, votes in cast.items() if any(v.outcome == "abstain" for v in votes)]
    if not unread:
        return None, "no answer of the critic in the round under way is unreadable: none is asked"
    retried = VOTING[unread[0].stage]  # grades and votes were committed before the win rate
    word, staying = REDONE[retried]
    asked = [unit for unit in cast if VOTING[unit.stage] == retried]
    going = _going(asked, unread)
    kept = {*asked} - {*going}
    gone = redo.plan(path, ledger, word)
    units = [u for u in gone.units if u not in kept and u.stage not in staying]
    answered = {u: [vote for vote in cast[u] if vote.outcome != "abstain"] for u in going}
    gone = replace(
        gone,
        units=units,
        voted=[pair for pair in gone.voted if pair[0] in {*units}],
        kept=_write(path, ledger, answered, retried=retried),
    )
    num_kept = sum(map(len, answered.values()))
    num_unread = sum(len(cast[unit]) for unit in going) - num_kept
    return gone, (
        f"asks for {num_unread} unreadable answers again and keeps {num_kept} of the same "
        f"batches; {gone.text()}"
    )


def answered_path(attempt_folder: Path, stage: str, index: int) -> Path:
    """Return the table of answers that a retry kept of a voting stage."""
    return attempt_folder / stage / f"answered-{index:04d}.parquet"


def _votes(path: Path, ledger: Ledger) -> ShardVotes:
    """Return the critic's votes in the attempt under way, by unit."""
    from dualipo.store import tables  # imports pyarrow

    last = redo.last_round(ledger)
    place = (last, settled.attempt_of(ledger, last))
    owners = {unit: name for name, unit in ledger.owners().items() if "/votes-" in name}
    return {
        unit: tables.read_records(path / owners[unit], record_type=Vote)
        for unit in ledger.units()
        if unit.stage in VOTING and (unit.round, unit.attempt) == place and unit in owners
    }


def _going(cast: Sequence[Unit], unread: Sequence[Unit]) -> list[Unit]:
    """Return the units that go: those with an unreadable answer, and votes on other contests.

    Where a clip's grade changes, the best and the worst of its caption may be others.
    """
    grades_change = any(unit.stage == "score" for unit in unread)
    return [u for u in cast if u in unread or (grades_change and u.stage == "confirm")]


def _write(
    path: Path, ledger: Ledger, answered: ShardVotes, *, retried: str
) -> Mapping[Unit, Mapping[str, str]]:
    """Write the answers that are kept; return the unit that is to own them, with its files."""
    from dualipo.store import tables

    first = next(iter(answered))
    index = sum(unit.stage == retried for unit in ledger.units())
    by_stage: dict[str, list[Vote]] = defaultdict(list)
    for each, votes in answered.items():
        by_stage[each.stage] += votes
    files = {}
    for voting, votes in by_stage.items():
        table = answered_path(attempt_path(path, first.round, first.attempt), voting, index)
        tables.write_records(table, votes, record_type=Vote)
        files[table.relative_to(path).as_posix()] = atomic.sha256_file(table)
    return {replace(first, stage=retried, index=index): files}
