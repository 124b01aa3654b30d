"""What a run took: device time by stage, by round and by device, and what it made in that time.

Every unit's clock is in the ledger. Where workers did a stage's units, their clocks add up to its
device time; a stage that one process did alone has one clock, and an alignment holds as many
devices as it has processes. The first start of a stage counts, and so do the starts after a kill:
each unit is clocked once, when it is committed. What a kill lost is in no clock.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dualipo.amounts import duration
from dualipo.evaluation.clocks import once
from dualipo.evaluation.report.charts import percent
from dualipo.evaluation.report.report_tables import Table
from dualipo.evaluation.run_history import BASE
from dualipo.events import ClockEvent, SampleEvent
from dualipo.stages import STAGES
from dualipo.store.ledger import Unit
from dualipo.store.run_reader import RunReader

HOUR = 3600.0


@dataclass(frozen=True)
class Spent:
    """The device time of one stage of a round, on one kind of device; its units were clocked."""

    round: int
    stage: str
    device: str
    seconds: float
    num_units: int


@dataclass(frozen=True)
class Costs:
    """All of a run's device time, and what it made with it, by round."""

    name: str
    spent: tuple[Spent, ...]
    num_clips: dict[int, int]
    num_votes: dict[int, int]

    @property
    def seconds(self) -> float:
        """The device time of everything."""
        return sum(each.seconds for each in self.spent)


def read(run_path: Path) -> Costs:
    """Read what a run has spent until now."""
    run = RunReader(run_path)
    sums = run.clock_sums() if run.has_ledger else []
    num_clips = {unit.round: event.num_clips for unit, event in run.events(SampleEvent)}
    return Costs(
        name=run_path.name,
        spent=tuple(_spent(sums, run.settings)),
        num_clips=num_clips,
        num_votes={round: sum(run.num_votes(round).values()) for round in num_clips},
    )


def _spent(
    sums: Sequence[tuple[Unit, ClockEvent, int]], settings: dict[str, Any]
) -> Iterable[Spent]:
    seconds: dict[tuple[int, str, str], float] = defaultdict(float)
    units: dict[tuple[int, str, str], int] = defaultdict(int)
    counts = {(unit, clock): num for unit, clock, num in sums}
    for unit, clock in once([(unit, clock) for unit, clock, _ in sums]):
        stage = unit.stage.partition(".")[0] if unit.stage not in _NAMES else unit.stage
        key = unit.round, stage, clock.device or ""
        seconds[key] += clock.seconds * _num_devices(unit.stage, clock, settings)
        units[key] += counts[unit, clock]
    for key in sorted(seconds, key=lambda key: (key[0], _ORDER.get(key[1], len(_ORDER)), key)):
        yield Spent(*key, seconds[key], units[key])


def _in_plain_words(stage_id: str) -> str:
    kind, _, name = stage_id.replace("_", " ").partition(".")
    return f"{name} clips" if kind == "sample" else kind


_NAMES = {stage.stage_id: stage.name or _in_plain_words(stage.stage_id) for stage in STAGES}
_ORDER = {stage.stage_id: place for place, stage in enumerate(STAGES)}


def _num_devices(stage: str, clock: ClockEvent, settings: dict[str, Any]) -> int:
    """Return the devices that a unit held; runs of an older dualipo say it in their settings."""
    if clock.num_devices is not None or stage != "align":
        return clock.num_devices or 1
    return int(settings["align.num_processes"])


def in_words(costs: Costs, *, price: float | None = None) -> str:
    """Write the table of a run's device time, and its rates; `price` is money for a device-hour."""
    rounds = sorted({each.round for each in costs.spent})
    heads = ["before round 0" if round == BASE else f"round {round}" for round in rounds]
    rows = [
        [
            _NAMES.get(stage) or _in_plain_words(stage),
            *_row(costs, stage, rounds),
            _share(costs, stage),
        ]
        for stage in dict.fromkeys(each.stage for each in costs.spent)
    ]
    rows.append(["all", *_row(costs, None, rounds), percent(1.0)])
    lines = [Table(["", *heads, "share"], rows).in_text(), ""]
    paid = "" if price is None else f" At {price:g} a device-hour: {_price(costs, price):.2f}."
    lines.append(
        f"{costs.name}: {duration(costs.seconds)} of device time{_by_device(costs)}.{paid}"
    )
    return "\n".join([*lines, *_rates(costs)])


def as_dict(costs: Costs, *, price: float | None = None) -> dict[str, Any]:
    """Return the same as plain values."""
    return {
        "run": costs.name,
        "device_seconds": costs.seconds,
        "price": None if price is None else _price(costs, price),
        "stages": [vars(each) for each in costs.spent],
        "num_clips": costs.num_clips,
        "num_votes": costs.num_votes,
    }


def _price(costs: Costs, an_hour: float) -> float:
    return costs.seconds / HOUR * an_hour


def _row(costs: Costs, stage: str | None, rounds: Sequence[int]) -> list[str]:
    cells = []
    for round in rounds:
        seconds = _seconds(costs, round=round, stages=None if stage is None else {stage})
        cells.append(duration(seconds) if seconds else "—")
    return cells


def _seconds(costs: Costs, *, round: int | None = None, stages: set[str] | None = None) -> float:
    return sum(
        each.seconds
        for each in costs.spent
        if (round is None or each.round == round) and (stages is None or each.stage in stages)
    )


def _share(costs: Costs, stage: str) -> str:
    return percent(_seconds(costs, stages={stage}) / costs.seconds) if costs.seconds else "—"


def _by_device(costs: Costs) -> str:
    by_device: dict[str, float] = defaultdict(float)
    for each in costs.spent:
        by_device[each.device] += each.seconds
    driver = by_device.pop("", 0.0)
    if not by_device:
        return ""
    told = ", ".join(f"{duration(by_device[name])} on {name}" for name in sorted(by_device))
    return f" ({told}; the rest is the driver's)" if driver else f" ({told})"


def _rates(costs: Costs) -> list[str]:
    """Write how many clips an hour and votes a second one device makes, from the newest round."""
    if not costs.num_clips:
        return []
    newest = max(costs.num_clips)
    sampling = _seconds(costs, round=newest, stages={"sample.candidates"})
    judging = _seconds(costs, round=newest, stages={"score", "confirm"})
    lines = []
    if sampling:
        an_hour = costs.num_clips[newest] / sampling * HOUR
        lines.append(f"round {newest}: {an_hour:.3g} clips an hour on one device.")
    if judging and costs.num_votes[newest]:
        a_second = costs.num_votes[newest] / judging
        lines.append(f"round {newest}: {a_second:.3g} grades and votes a second on one device.")
    return lines
