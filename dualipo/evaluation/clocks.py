"""The clocks of a run's units, each second of a device once.

Where workers clock the units of a stage, the clock of its closing unit covers the same time as they
do, as the run's own process saw it. It counts only where the units have no clocks.
"""

from collections.abc import Sequence

from dualipo.events import ClockEvent
from dualipo.store.ledger import Unit

CLOSING = -1  # the index of the unit that closes a set of clips
Clocked = tuple[Unit, ClockEvent]


def once(clocks: Sequence[Clocked]) -> list[Clocked]:
    """Return the clocks without those that others cover."""
    by_unit = {_place(unit) for unit, _ in clocks if unit.index != CLOSING}
    return [
        (unit, clock)
        for unit, clock in clocks
        if unit.index != CLOSING or _place(unit) not in by_unit
    ]


def _place(unit: Unit) -> tuple[int, int, str]:
    return unit.round, unit.attempt, unit.stage
