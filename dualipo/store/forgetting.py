"""Deletes units from a ledger with all that they recorded, inside a transaction of the ledger's.

A clip that a candidate which stays names too keeps its row, whichever unit stored it first.
"""

import sqlite3
from collections.abc import Iterable, Mapping
from typing import Any

Key = tuple[int, int, str, int]  # round, attempt, stage, index


def forget(
    connection: sqlite3.Connection,
    units: Iterable[Key],
    *,
    versions: Iterable[tuple[str, str]],
    voted: Iterable[tuple[int, int, str]],
    heads: Iterable[tuple[str, str]],
    kept: Mapping[Key, Mapping[str, str]],
) -> None:
    """Delete units and their events, files, votes, candidates and versions; move the heads.

    `kept` are new units, each with the sha256 of its files, which hold what is worth keeping.
    """
    keys, made = list(units), list(versions)
    connection.executemany(
        "UPDATE heads SET version_id = ? WHERE kind = ?",
        [(version_id, kind) for kind, version_id in heads],
    )
    connection.executemany("DELETE FROM versions WHERE kind = ? AND version_id = ?", made)
    connection.executemany(
        "DELETE FROM candidates WHERE generator_version = ?",
        [(version_id,) for kind, version_id in made if kind == "generator"],
    )
    rounds = [(round_,) for round_, _, stage, _ in keys if stage == "prompts"]
    connection.executemany("DELETE FROM candidates WHERE round = ?", rounds)
    _remember(connection, "voted", "round, attempt, item", [*voted])
    connection.execute(
        "DELETE FROM votes WHERE (round, attempt, item) IN (SELECT * FROM temp.voted)"
    )
    where = "round = ? AND attempt = ? AND stage = ? AND unit_index = ?"
    connection.executemany(f"DELETE FROM events WHERE {where}", keys)
    _remember(connection, "going", "round, attempt, stage, unit_index", keys)
    connection.execute(
        "DELETE FROM files WHERE (round, attempt, stage, unit_index) IN (SELECT * FROM temp.going)"
        " AND NOT (path GLOB 'clips/*' AND sha256 IN (SELECT clip FROM candidates))"
    )
    connection.executemany(f"DELETE FROM units WHERE {where}", keys)
    columns = "round, attempt, stage, unit_index"
    for key, files in kept.items():
        connection.execute(f"INSERT INTO units ({columns}) VALUES (?, ?, ?, ?)", key)
        connection.executemany(
            f"INSERT INTO files (path, sha256, {columns}) VALUES (?, ?, ?, ?, ?, ?)",
            [(path, sha256, *key) for path, sha256 in files.items()],
        )


def _remember(
    connection: sqlite3.Connection, name: str, columns: str, rows: list[tuple[Any, ...]]
) -> None:
    """Keep rows in a table of this connection's own, so that one pass deletes what they name."""
    connection.execute(f"DROP TABLE IF EXISTS temp.{name}")
    connection.execute(f"CREATE TEMP TABLE {name} ({columns})")
    marks = ", ".join("?" * len(columns.split(",")))
    connection.executemany(f"INSERT INTO temp.{name} VALUES ({marks})", rows)
