"""A folder of caption shards that one command fills: repeating the command writes what is missing.

`plan.json` says which command made the folder and from what; a command with another plan is
refused. A shard appears whole or not at all, and equal plans give equal bytes.
"""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from dualipo import interrupt
from dualipo.errors import DataError
from dualipo.store import atomic

PLAN = "plan.json"
REPORT = "report.json"
PATTERN = "captions-*.parquet"

# `seed` is null and the texts are "" where they are not known. `original` is the caption before it
# was expanded; `elements` is JSON, from the kind of an element to its text.
SCHEMA = pa.schema(
    [
        *((name, pa.string()) for name in ("prompt_id", "caption", "category", "elements")),
        ("seed", pa.int64()),
        *((name, pa.string()) for name in ("source", "original")),
    ]
)


class ShardFolder:
    """The shards of one plan, numbered from 0."""

    def __init__(self, folder: Path, *, command: str, plan: Mapping[str, Any]) -> None:
        self.folder = folder
        wanted = {"command": command, **plan}
        path = folder / PLAN
        if path.exists():
            before = atomic.read_json(path)
            if before != wanted:
                differs = sorted(k for k in {*before, *wanted} if before.get(k) != wanted.get(k))
                raise DataError(
                    f"{folder}: made by another command ({', '.join(differs)} differ). Repeat that "
                    "one to go on with it, name another folder, or delete this one."
                )
        elif folder.is_dir() and any(folder.iterdir()):
            raise DataError(f"{folder}: holds other files. Name a new folder.")
        else:
            atomic.write_json(path, wanted)

    def path(self, index: int) -> Path:
        """Return where the shard of this number is, or will be."""
        return self.folder / f"captions-{index:05d}.parquet"

    def missing(self, num: int) -> Iterator[int]:
        """Yield the numbers under `num` whose shard is not there; a signal ends it between two."""
        for index in range(num):
            if not self.path(index).exists():
                interrupt.check()
                yield index

    def write(self, index: int, table: pa.Table) -> None:
        """Publish a shard."""
        with atomic.publish(self.path(index), name="captions") as temporary:
            pq.write_table(table.cast(SCHEMA), temporary, compression="zstd")


def cut(tables: Iterable[pa.Table], num_rows: int) -> Iterator[pa.Table]:
    """Yield the rows of all tables in tables of `num_rows` each; the last one may be shorter."""
    waiting: list[pa.Table] = []
    for table in tables:
        waiting.append(table)
        while sum(map(len, waiting)) >= num_rows:
            whole = pa.concat_tables(waiting)
            yield whole.slice(0, num_rows)
            waiting = [whole.slice(num_rows)]
    if sum(map(len, waiting)):
        yield pa.concat_tables(waiting)


def files(folder: Path) -> list[Path]:
    """Return the parquet files of a folder of captions in order, ours or a stranger's.

    A folder that a command has not filled yet is a DataError.
    """
    if not (folder / PLAN).exists():
        paths = sorted(folder.glob("*.parquet"))
        if not paths:
            raise DataError(f"{folder}: holds no parquet file. Name a folder or file of captions.")
        return paths
    plan = atomic.read_json(folder / PLAN)
    paths = sorted(folder.glob(PATTERN))
    is_whole = len(paths) == plan["num_shards"] if "num_shards" in plan else _is_reported(folder)
    if not is_whole:
        raise DataError(
            f"{folder}: `captions {plan['command']}` has not filled it yet ({len(paths)} shards). "
            "Repeat that command."
        )
    return paths


def _is_reported(folder: Path) -> bool:
    return (folder / REPORT).exists()
