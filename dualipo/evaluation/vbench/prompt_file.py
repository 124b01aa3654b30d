"""VBench's prompts, read from the `VBench_full_info.json` of the package that is to score them.

A row is a prompt and the dimensions that score it. A clip is named after its prompt and its number
(`a dog-0.mp4`), so two rows with one prompt share their clips: they are sampled once and scored for
both. Each prompt has 5 clips; one of temporal flickering has 25, of which VBench's filter keeps the
still ones. A name is never cut: a prompt that cannot be a file name is refused (fault 82).
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dualipo import text_files
from dualipo.errors import DataError
from dualipo.evaluation.vbench.totals import DIMENSIONS

CLIPS_PER_PROMPT = 5
FLICKERING = "temporal_flickering"
CLIPS_FOR_FLICKERING = 25
MAX_NAME = 255  # bytes of a file name
_REMEDY = "Take the VBench_full_info.json of an installed vbench, or install vbench again."


@dataclass(frozen=True)
class PromptFile:
    """The rows of a prompt file as VBench wants them back, and the hash of the whole file."""

    rows: tuple[Mapping[str, Any], ...]
    sha256: str

    @property
    def prompts(self) -> list[str]:
        """The different prompts, in the order of their first row."""
        return list(dict.fromkeys(row["prompt_en"] for row in self.rows))


@dataclass(frozen=True)
class Plan:
    """The clips that some dimensions need: how many of each prompt, and the rows that use them."""

    rows: tuple[Mapping[str, Any], ...]
    dimensions: tuple[str, ...]
    num_clips: Mapping[str, int] = field(default_factory=dict)  # by prompt

    @property
    def num_planned(self) -> int:
        """The clips of all rows; a clip that two rows share counts twice."""
        return sum(self.num_clips[row["prompt_en"]] for row in self.rows)

    def scored(self, dimension: str, clips_per_prompt: int) -> list[str]:
        """Return the names of the clips that a dimension scores, row by row."""
        return [
            clip_name(row["prompt_en"], index)
            for row in self.rows
            if dimension in row["dimension"]
            for index in range(min(clips_per_prompt, self.num_clips[row["prompt_en"]]))
        ]


def read(path: Path) -> PromptFile:
    """Read a prompt file; refuse a prompt that no file can be named after."""
    rows = text_files.read_json(path, remedy=_REMEDY, shape=list)
    for number, row in enumerate(rows, start=1):
        require_row(path, number, row)
    return PromptFile(tuple(rows), hashlib.sha256(path.read_bytes()).hexdigest())


def plan(rows: Sequence[Mapping[str, Any]], dimensions: Sequence[str]) -> Plan:
    """Return the clips that the whole suite samples for these dimensions."""
    used = tuple(row for row in rows if set(row["dimension"]) & set(dimensions))
    num_clips: dict[str, int] = {}
    for row in used:
        is_still = FLICKERING in row["dimension"]
        num = CLIPS_FOR_FLICKERING if is_still else CLIPS_PER_PROMPT
        num_clips[row["prompt_en"]] = max(num, num_clips.get(row["prompt_en"], 0))
    return Plan(used, tuple(dimensions), num_clips)


def subset(
    rows: Sequence[Mapping[str, Any]], dimensions: Sequence[str], *, num_prompts: int
) -> Plan:
    """Return about `num_prompts` prompts with one clip each, for a cheap score in every round.

    Rows with the same dimensions form a group. The groups share the prompts evenly, and each takes
    them at even distances, so that the choice depends on the prompt file alone.
    """
    groups: dict[tuple[str, ...], list[Mapping[str, Any]]] = {}
    for row in rows:
        if set(row["dimension"]) & set(dimensions):
            groups.setdefault(tuple(row["dimension"]), []).append(row)
    share = max(1, round(num_prompts / max(1, len(groups))))
    used = [row for group in groups.values() for row in _evenly(group, share)]
    return Plan(tuple(used), tuple(dimensions), {row["prompt_en"]: 1 for row in used})


def clip_name(prompt: str, index: int) -> str:
    """Return VBench's name of a prompt's clip."""
    return f"{prompt}-{index}.mp4"


def prompt_of(name: str) -> str:
    """Return the prompt after which VBench's clip of this name is called."""
    return name.rpartition("-")[0]


def _evenly(rows: Sequence[Mapping[str, Any]], num: int) -> list[Mapping[str, Any]]:
    num = min(num, len(rows))
    return [rows[place * len(rows) // num] for place in range(num)]


def require_row(path: Path, number: int, row: object) -> None:
    """Refuse a row that is none of VBench's, or whose prompt is no file name."""
    is_row = isinstance(row, dict) and isinstance(row.get("prompt_en"), str)
    dimensions = row.get("dimension") if isinstance(row, dict) else None
    is_list = isinstance(dimensions, list) and all(each in DIMENSIONS for each in dimensions)
    if not is_row or not is_list:
        raise DataError(f"{path}: row {number} is no prompt with dimensions of VBench. {_REMEDY}")
    assert isinstance(row, dict)
    name = clip_name(row["prompt_en"], CLIPS_FOR_FLICKERING)
    if not row["prompt_en"] or set(name) & {"/", "\\", "\0"} or len(name.encode()) > MAX_NAME:
        raise DataError(
            f"{path}: the prompt of row {number}, {row['prompt_en'][:60]!r}, cannot be a file "
            f"name, and VBench finds clips by it. {_REMEDY}"
        )
