"""Writes what a screening keeps and drops, and its report.

captions-*.parquet  the captions that are kept
dropped.parquet     the others, with the reason and what they repeat or overlap with
report.json         numbers by reason, and the first three examples of each
"""

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from dualipo import interrupt
from dualipo.prompts import caption_files, shards
from dualipo.prompts.shards import ShardFolder
from dualipo.store import atomic

DROPPED = "dropped.parquet"
NUM_EXAMPLES = 3
ROWS_PER_SHARD = 50_000
MAX_SHOWN = 140  # characters of an example
_SCHEMA = pa.schema([*shards.SCHEMA, ("reason", pa.string()), ("of", pa.string())])


@dataclass
class Verdicts:
    """The reason why each row is dropped, as an index into `reasons` (0: it is kept).

    `likes` holds what a dropped row is like: the row of the original, or an evaluation prompt.
    """

    codes: np.ndarray
    reasons: list[str]
    likes: dict[int, int | str]
    num_evaluation_prompts: int


@dataclass
class Report:
    """The numbers of a screening; `of` of an example is what it repeats or overlaps with."""

    num_read: int = 0
    num_kept: int = 0
    num_evaluation_prompts: int = 0
    dropped: dict[str, int] = field(default_factory=dict)
    examples: dict[str, list[dict[str, str]]] = field(default_factory=dict)

    def text(self) -> str:
        """Return a table of the reasons with their numbers and first examples."""
        lines = [f"{self.num_read:>9,} read", f"{self.num_kept:>9,} kept"]
        if self.num_evaluation_prompts:
            lines[0] += f", compared with {self.num_evaluation_prompts:,} evaluation prompts"
        for reason, num in sorted(self.dropped.items(), key=lambda item: -item[1]):
            lines.append(f"{num:>9,} dropped: {reason}")
            for example in self.examples[reason]:
                lines.append(f"            {_shown(example['caption'])}")
                if example["of"]:
                    lines.append(f"              like {_shown(example['of'])}")
        return "\n".join(lines)


def read_report(folder: Path) -> Report:
    """Read the report of a screening that has finished."""
    return Report(**atomic.read_json(folder / shards.REPORT))


def write(
    source: Path, target: ShardFolder, verdicts: Verdicts, on_batch: Callable[[int], None]
) -> Report:
    """Write the rows that are kept and those that are not, then the report; return the report."""
    report = Report(num_evaluation_prompts=verdicts.num_evaluation_prompts)
    likes = _Likes(verdicts)
    with (
        atomic.publish(target.folder / DROPPED) as path,
        pq.ParquetWriter(path, _SCHEMA, compression="zstd") as writer,
    ):

        def passing() -> Iterator[pa.Table]:
            for batch in caption_files.batches(source):
                table = caption_files.named(batch)
                likes.see(table, report.num_read)
                codes = verdicts.codes[report.num_read : report.num_read + len(table)]
                writer.write_table(likes.dropped(table, codes, report.num_read))
                report.num_read += len(table)
                on_batch(len(table))
                interrupt.check()
                yield table.filter(pa.array(codes == 0))

        for index, table in enumerate(shards.cut(passing(), ROWS_PER_SHARD)):
            target.write(index, table)
            report.num_kept += len(table)
    counts = np.bincount(verdicts.codes, minlength=len(verdicts.reasons)).tolist()
    report.dropped = {r: n for r, n in zip(verdicts.reasons[1:], counts[1:], strict=True) if n}
    report.examples = likes.examples()
    atomic.write_json(target.folder / shards.REPORT, asdict(report))
    return report


class _Likes:
    """Remembers the captions that examples show, and those that dropped rows are like."""

    def __init__(self, verdicts: Verdicts) -> None:
        self._verdicts = verdicts
        self._firsts = {
            reason: np.flatnonzero(verdicts.codes == code)[:NUM_EXAMPLES].tolist()
            for code, reason in enumerate(verdicts.reasons)
            if code
        }
        originals = {like for like in verdicts.likes.values() if isinstance(like, int)}
        shown = {row for rows in self._firsts.values() for row in rows}
        self._wanted = np.array(sorted(originals | shown), dtype=np.int64)
        self._captions: dict[int, str] = {}
        self._ids: dict[int, str] = {}

    def see(self, table: pa.Table, first_row: int) -> None:
        """Remember what is wanted of these rows."""
        begin, end = np.searchsorted(self._wanted, [first_row, first_row + len(table)])
        rows = self._wanted[begin:end]
        own = table.select(["prompt_id", "caption"]).take(pa.array(rows - first_row))
        self._ids.update(zip(rows.tolist(), own["prompt_id"].to_pylist(), strict=True))
        self._captions.update(zip(rows.tolist(), own["caption"].to_pylist(), strict=True))

    def dropped(self, table: pa.Table, codes: np.ndarray, first_row: int) -> pa.Table:
        """Return the dropped rows with their reasons and what they are like, an id or a prompt."""
        places = np.flatnonzero(codes)
        likes = [self._verdicts.likes.get(first_row + place, "") for place in places.tolist()]
        reasons = [self._verdicts.reasons[code] for code in codes[places].tolist()]
        own = table.take(pa.array(places))
        own = own.append_column("reason", pa.array(reasons, pa.string()))
        named = [self._ids[like] if isinstance(like, int) else like for like in likes]
        return own.append_column("of", pa.array(named, pa.string())).cast(_SCHEMA)

    def examples(self) -> dict[str, list[dict[str, str]]]:
        """Return the first captions of every reason, each with what it is like."""
        return {
            reason: [{"caption": self._captions[row], "of": self._text_of(row)} for row in rows]
            for reason, rows in self._firsts.items()
            if rows
        }

    def _text_of(self, row: int) -> str:
        like = self._verdicts.likes.get(row, "")
        return self._captions[like] if isinstance(like, int) else like


def _shown(text: str) -> str:
    """Return a text as one printable line, shortened."""
    line = ascii(text[: MAX_SHOWN + 1])[1:-1] if not text.isprintable() else text
    return line if len(line) <= MAX_SHOWN else f"{line[:MAX_SHOWN]}…"
