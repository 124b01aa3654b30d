"""A run's records as pyarrow tables; `RunReader` says what the columns mean."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import pyarrow as pa

from dualipo.events import (
    AlignEvent,
    Event,
    MonitorEvent,
    PreferEvent,
    RefreshEvent,
    ScoresEvent,
)
from dualipo.records import DIMENSIONS, Candidate, Pair, Point, Prompt, Vote, pairs_by_id
from dualipo.store.ledger import CastVote, Unit, Version
from dualipo.store.tables import columns_of

_INT, _FLOAT, _TEXT = pa.int64(), pa.float64(), pa.string()
_STEP = {"round": _INT, "attempt": _INT, "stage": _TEXT, "step": _INT}
_SCORES = {"round": _INT, "attempt": _INT, "prompt_id": _TEXT, "caption": _TEXT}
_SCORES |= {name: _FLOAT for name in (*DIMENSIONS, "total")}
_ROUNDS = {
    **{"round": _INT, "attempt": _INT, "num_prompts": _INT, "num_kept": _INT},
    **{"critic_version": _TEXT, "generator_version": _TEXT, "implicit_accuracy": _FLOAT},
    **{"win_rate": _FLOAT, "holdout_accuracy": _FLOAT, "audit_accuracy": _FLOAT},
    "refresh": _TEXT,
}
_VOTES = {
    **{"round": _INT, "attempt": _INT, "kind": _TEXT, "stage": _TEXT, "critic_version": _TEXT},
    **{"item": _TEXT, "candidate_a": _TEXT, "candidate_b": _TEXT},
    **{"dimension": _TEXT, "order": _TEXT},
    **{"draw": _INT, "outcome": _TEXT, "log_prob": _FLOAT, "score": _FLOAT, "reasoning": _TEXT},
}

# What a vote in the ledger and its reasoning in a file are joined by.
VoteKey = tuple[int, int, str, str, str, int, float]


def set_of(candidate: Candidate) -> str:
    """Return the name of the set that a clip was made for, with which its id begins."""
    return candidate.candidate_id.partition("-")[0]


def prompts(sets: Iterable[tuple[int, str, Sequence[Prompt]]]) -> pa.Table:
    """Return prompts as a table; each set comes with its round and name."""
    rows = [
        {"round": round, "set": name} | asdict(prompt)
        for round, name, own in sets
        for prompt in own
    ]
    return _table(rows, {"round": _INT, "set": _TEXT} | columns_of(Prompt))


def clips(candidates: Iterable[Candidate], path_of: Callable[[str], str]) -> pa.Table:
    """Return clips as a table; `path_of` turns a clip's hash into its path."""
    columns = {"round": _INT, "set": _TEXT} | columns_of(Candidate) | {"path": _TEXT}
    rows = [
        asdict(candidate) | {"set": set_of(candidate), "path": path_of(candidate.clip)}
        for candidate in candidates
    ]
    return _table(rows, columns)


def votes(
    cast: Iterable[CastVote],
    reasonings: Mapping[VoteKey, tuple[str, str]],
    candidates: Sequence[Candidate],
) -> pa.Table:
    """Return votes as a table, each with its stage and reasoning where they are known."""
    sides: dict[str, tuple[str, str | None]] = {
        candidate.candidate_id: (candidate.candidate_id, None) for candidate in candidates
    }
    for item, (first, second) in pairs_by_id(candidates).items():
        sides[item] = (first.candidate_id, second.candidate_id)
    rows = []
    for row in cast:
        key = key_of(row.round, row.attempt, row.vote)
        stage, reasoning = reasonings.get(key, (None, None))
        candidate_a, candidate_b = sides.get(row.vote.item, (None, None))
        rows.append(
            {"round": row.round, "attempt": row.attempt, "kind": row.kind, "stage": stage}
            | {"critic_version": row.critic_version}
            | {"candidate_a": candidate_a, "candidate_b": candidate_b}
            | asdict(row.vote)
            | {"reasoning": reasoning}
        )
    return _table(rows, _VOTES)


def key_of(round: int, attempt: int, vote: Vote) -> VoteKey:
    """Return what a vote and its reasoning are joined by."""
    return (round, attempt, vote.item, vote.dimension, vote.order, vote.draw, vote.log_prob)


def labels(
    attempts: Iterable[tuple[Unit, Sequence[Any]]], record_type: type[Pair] | type[Point]
) -> pa.Table:
    """Return labels as a table; those of an attempt come with the unit that published them."""
    rows = [
        asdict(record) | {"round": unit.round, "attempt": unit.attempt}
        for unit, own in attempts
        for record in own
    ]
    return _table(rows, {"round": _INT, "attempt": _INT} | columns_of(record_type))


def rounds(events: Iterable[tuple[Unit, Event]]) -> pa.Table:
    """Return what the attempts of the rounds recorded as a table, one row for each attempt."""
    rows: dict[tuple[int, int], dict[str, Any]] = {}
    for unit, event in events:
        if unit.round >= 0:
            row = rows.setdefault((unit.round, unit.attempt), {})
            row.update({"round": unit.round, "attempt": unit.attempt} | _figures(event))
    return _table([row for _, row in sorted(rows.items())], _ROUNDS)


def _figures(event: Event) -> dict[str, Any]:
    match event:
        case PreferEvent():
            return {"num_prompts": event.num_prompts, "num_kept": event.kept}
        case AlignEvent():
            names = ("generator_version", "critic_version", "implicit_accuracy")
            return {name: getattr(event, name) for name in names}
        case MonitorEvent():
            names = ("win_rate", "holdout_accuracy", "audit_accuracy")
            return {name: getattr(event.signals, name) for name in names}
        case RefreshEvent():
            return {"refresh": event.outcome}
    return {}


def scores(events: Iterable[tuple[Unit, ScoresEvent]]) -> pa.Table:
    """Return the test clips' scores as a table."""
    rows = []
    for unit, event in events:
        for n, prompt_id in enumerate(event.prompt_ids):
            parts = {str(name): values[n] for name, values in event.parts.items()}
            row = {"round": unit.round, "attempt": unit.attempt, "prompt_id": prompt_id}
            rows.append(row | {"caption": event.captions[n], "total": event.total[n]} | parts)
    return _table(rows, _SCORES)


def curves(metrics: Sequence[Mapping[str, Any]]) -> pa.Table:
    """Return the lines of `metrics.jsonl` as a table, a column for each number that one holds."""
    names = dict.fromkeys(name for row in metrics for name in row if name not in _STEP)
    numbers = [name for name in names if all(_is_number(row.get(name)) for row in metrics)]
    rows = [
        {name: row.get(name) for name in _STEP}
        # NaN and infinity stand there by name, as JSON has no number for them.
        | {name: None if row.get(name) is None else float(row[name]) for name in numbers}
        for row in metrics
    ]
    return _table(rows, _STEP | dict.fromkeys(numbers, _FLOAT))


def versions(known: Iterable[Version], serving: Iterable[Version | None]) -> pa.Table:
    """Return models as a table."""
    in_use = list(serving)
    rows = [asdict(version) | {"serves": version in in_use} for version in known]
    return _table(rows, columns_of(Version) | {"serves": pa.bool_()})


def _is_number(value: Any) -> bool:
    """Tell whether a metric is a number, or the name of one that JSON cannot hold."""
    if isinstance(value, str):
        try:
            return not math.isfinite(float(value))
        except ValueError:
            return False
    return value is None or isinstance(value, int | float)


def _table(rows: Sequence[Mapping[str, Any]], columns: Mapping[str, pa.DataType]) -> pa.Table:
    return pa.Table.from_pylist(list(rows), schema=pa.schema(list(columns.items())))
