"""Real clips from a disk: listed by a table, decoded, and cut to the generator's size and rate.

The table is a parquet, JSON or JSON-lines file beside its clips, VidGen-1M's
`[{"vid": ..., "caption": ...}]` included, or the `metadata.jsonl` or `metadata.parquet` of a folder
in Hugging Face's videofolder layout. A name without a suffix means `.mp4`. Nothing is fetched, and
no clip outside the table's folder is read (FAULTS.md 50, 51). A clip that cannot be read, or is too
short at the wanted rate, is skipped and counted, and the next one takes its place; too many of them
stop the stage (FAULTS.md 66). Leaves out `.csv` tables and zipped clips.

Shapes: F frames, C channels, H and W pixels.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from dualipo import seeds
from dualipo.config import Generator
from dualipo.errors import DataError, MediaError
from dualipo.store import clips, row_files

MAX_BAD_SHARE = 0.05
_TABLES = ("metadata.jsonl", "metadata.parquet", "metadata.json")
_SHOWN = 3  # reasons that an error quotes, and clips that are decoded before a run
_EXAMINED = 4096  # clips whose headers are read before a run


@dataclass(frozen=True)
class Listed:
    """A row of the table: where the clip should be, and its caption."""

    path: Path
    caption: str


@dataclass(frozen=True)
class Planned:
    """Rows to read, by their numbers, and those before them that could not be, with reasons."""

    rows: list[int] = field(default_factory=list)
    skipped: dict[int, str] = field(default_factory=dict)


@dataclass
class Footage:
    """A list of clips that is drawn from until `num_wanted` were read.

    `used` has the numbers of the rows that were read, `bad` the reasons by the numbers of those
    that could not be. Another process needs nothing else to go on.
    """

    listed: Sequence[Listed]
    num_wanted: int
    settings: Generator
    seed: int
    used: list[int] = field(default_factory=list)
    bad: dict[int, str] = field(default_factory=dict)

    def read(self) -> Iterator[tuple[Tensor, str]]:
        """Yield frames_FHWC and captions, in an order that depends on the seed alone.

        Rows that were drawn before are left out, and count among those wanted.
        """
        self._require_enough(len(self.listed))
        drawn = {*self.used, *self.bad}
        for place in self._order():
            if len(self.used) == self.num_wanted:
                return
            if place in drawn:
                continue
            row = self.listed[place]
            try:
                frames_FHWC = read_clip(row.path, settings=self.settings)
            except MediaError as fault:
                self.bad[place] = str(fault)
                self._require_few_bad()
                continue
            self.used.append(place)
            yield frames_FHWC, row.caption
        self._require_enough(len(self.used))

    def plan(self, sizes: Sequence[int], bad: Mapping[int, str]) -> list[Planned]:
        """Return which rows the next parts of these sizes read, as `read` draws them.

        `bad` rows are those of which it is known already that they cannot be read.
        """
        self._require_few_bad(bad)
        shards = [Planned() for _ in sizes]
        drawn = {*self.used, *self.bad}
        left = iter(place for place in self._order() if place not in drawn)
        for size, shard in zip(sizes, shards, strict=True):
            while len(shard.rows) < size:
                if (place := next(left, None)) is None:
                    self._require_enough(len(self.listed) - len({*self.bad, *bad}))
                elif place in bad:
                    shard.skipped[place] = bad[place]
                else:
                    shard.rows.append(place)
        return shards

    def go_on(
        self, *, used: Sequence[int], captions: Sequence[str], bad: Mapping[int, str]
    ) -> None:
        """Count what another process drew; raise DataError where the table's rows have changed."""
        now = [self.listed[place].caption for place in used if place < len(self.listed)]
        if now != list(captions):
            raise DataError(
                "real clips: the table of align.dataset_name lost or changed rows that this run "
                "has encoded. Restore it (rows may be added at its end), or choose another "
                "output_dir."
            )
        self.used += used
        self.bad |= bad

    def examine(self) -> None:
        """Raise DataError where too few of the clips that will be drawn first can be used.

        Their headers are read, and the first few are decoded.
        """
        self._require_enough(len(self.listed))
        for number, place in enumerate(self._order()[: min(self.num_wanted, _EXAMINED)]):
            path = self.listed[place].path
            look = read_clip if number < _SHOWN else _require_length
            try:
                look(path, settings=self.settings)
            except MediaError as fault:
                self.bad[place] = str(fault)
        self._require_few_bad()
        self._require_enough(len(self.listed) - len(self.bad))

    def _order(self) -> list[int]:
        """Return the rows' numbers in the order in which they are drawn."""
        draw = torch.Generator().manual_seed(seeds.derive(self.seed, "footage"))
        order: list[int] = torch.randperm(len(self.listed), generator=draw).tolist()
        return order

    def _require_enough(self, num: int) -> None:
        if num < self.num_wanted:
            raise DataError(
                f"real clips: {num} of {len(self.listed)} could be used, {self.num_wanted} are "
                f"wanted. Add clips, or set align.num_real_clips={num}."
            )

    def _require_few_bad(self, further: Mapping[int, str] | None = None) -> None:
        bad = self.bad | dict(further or {})
        if len(bad) > MAX_BAD_SHARE * self.num_wanted:
            raise DataError(
                f"real clips: {len(bad)} could not be used, more than {MAX_BAD_SHARE:.0%} of "
                f"the {self.num_wanted} wanted. Mend or replace them: "
                f"{' '.join([*bad.values()][:_SHOWN])}"
            )


def listing(name: str, *, video_column: str, caption_column: str) -> list[Listed]:
    """Read the rows of a table, or of a folder's table; clips are named relative to it."""
    table = _table(Path(name).expanduser())
    rows = [row for _, row in row_files.whole_rows(table)]
    if not rows:
        raise DataError(f"{table}: no rows. Name another align.dataset_name.")
    for column, key in ((video_column, "video_column"), (caption_column, "caption_column")):
        if column not in rows[0]:
            raise DataError(
                f"{table}: no column {column!r} among {', '.join(map(repr, rows[0]))}. Set "
                f"align.{key} to one of them."
            )
    root = table.parent.resolve()
    return [_listed(root, table, row, video_column, caption_column) for row in rows]


def read_clip(path: Path, *, settings: Generator) -> Tensor:
    """Read uint8 frames_FHWC at the generator's rate and size: scaled to cover, then cut."""
    shown = clips.read_shown(path)
    step = shown.fps / settings.fps if shown.fps else 1.0
    wanted = [round(n * step) for n in range(settings.num_frames)]
    if len(shown.frames_FHWC) <= wanted[-1]:
        _refuse_short(path, len(shown.frames_FHWC), wanted[-1] + 1)
    return covered(shown.frames_FHWC[wanted], height=settings.height, width=settings.width)


def _require_length(path: Path, *, settings: Generator) -> None:
    """Refuse a clip whose header declares fewer frames than are needed."""
    header = clips.probe(path)
    step = header.fps / settings.fps if header.fps else 1.0
    num_needed = round((settings.num_frames - 1) * step) + 1
    if 0 < header.num_frames < num_needed:
        _refuse_short(path, header.num_frames, num_needed)


def _refuse_short(path: Path, num_frames: int, num_needed: int) -> NoReturn:
    raise MediaError(
        f"{path}: {num_frames} frames, where {num_needed} are needed at the wanted rate."
    )


def covered(frames_FHWC: np.ndarray, *, height: int, width: int) -> Tensor:
    """Scale so that the frame covers the size, then cut its centre."""
    video_FCHW = torch.from_numpy(np.ascontiguousarray(frames_FHWC)).permute(0, 3, 1, 2).float()
    scale = max(height / video_FCHW.shape[2], width / video_FCHW.shape[3])
    inner = [max(size, math.ceil(edge * scale - 1e-6)) for edge, size in
             zip(video_FCHW.shape[2:], (height, width), strict=True)]  # fmt: skip
    scaled_FCHW = F.interpolate(video_FCHW, size=inner, mode="bilinear", antialias=True)
    top, left = (inner[0] - height) // 2, (inner[1] - width) // 2
    cut_FCHW = scaled_FCHW[:, :, top : top + height, left : left + width]
    return cut_FCHW.round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1).contiguous()


def _table(path: Path) -> Path:
    tables = [path] if path.is_file() else [path / name for name in _TABLES]
    table = next((table for table in tables if table.is_file()), None)
    if table is None:
        raise DataError(
            f"{path}: no table of clips. Name a parquet, .json or .jsonl file beside the clips in "
            f"align.dataset_name, or a folder that holds {' or '.join(_TABLES)}."
        )
    return table


def _listed(
    root: Path, table: Path, row: dict[str, Any], video_column: str, caption_column: str
) -> Listed:
    name, caption = row.get(video_column), row.get(caption_column)
    if not isinstance(name, str) or not isinstance(caption, str):
        raise DataError(f"{table}: a row names no clip or no caption: {row}. Complete the row.")
    path = (root / name).resolve()
    if not path.is_relative_to(root):
        raise DataError(f"{table}: {name!r} is outside {root}. Move the clip inside.")
    return Listed(path if path.suffix else path.with_name(f"{path.name}.mp4"), caption)
