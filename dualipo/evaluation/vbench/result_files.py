"""The result files that VBench writes: `*_eval_results.json`.

    {dimension: [mean, [{"video_path": ..., "video_results": ...}, ...]]}

The mean is VBench's own: some dimensions weigh clips by their frames, and `video_results` may be on
another scale. VBench leaves out a clip that it cannot read, or that is not there, and its mean
rises. Here such a clip is named and counts as a zero: the mean is multiplied by the share of the
planned clips that were scored.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dualipo import text_files
from dualipo.errors import DataError
from dualipo.evaluation.vbench.prompt_file import CLIPS_PER_PROMPT, clip_name, require_row
from dualipo.evaluation.vbench.totals import DIMENSIONS

SUFFIX = "_eval_results.json"
PROMPTS_SUFFIX = "_full_info.json"
_REMEDY = "Run VBench again for this dimension, or name another folder."


@dataclass(frozen=True)
class DimensionScore:
    """A dimension's raw score over all planned clips, with the names of clips without a result.

    `num_planned` is None where nothing says how many clips there should have been.
    """

    dimension: str
    raw: float
    num_scored: int
    num_planned: int | None = None
    failed: tuple[str, ...] = ()
    by_clip: Mapping[str, float] = field(default_factory=dict)


def read_folder(
    folder: Path, planned: Mapping[str, Sequence[str]] | None = None
) -> dict[str, DimensionScore]:
    """Return the score of each dimension that the result files of a folder hold.

    `planned` are the names of the clips that each dimension should score; by default those of the
    prompts that VBench wrote beside its results.
    """
    paths = sorted(folder.glob(f"*{SUFFIX}"))
    if not paths:
        raise DataError(f"{folder}: no file here ends in {SUFFIX}. Name VBench's output folder.")
    scores: dict[str, DimensionScore] = {}
    for path in paths:
        names = planned if planned is not None else _planned_beside(path)
        for score in read(path, names):
            before = scores.setdefault(score.dimension, score)
            if before != score:
                raise DataError(
                    f"{path}: {score.dimension} has another score in another file of this folder. "
                    "Leave one of them there."
                )
    return scores


def read(path: Path, planned: Mapping[str, Sequence[str]]) -> list[DimensionScore]:
    """Return the scores of one result file."""
    results = text_files.read_json(path, remedy=_REMEDY, shape=dict)
    return [_score(path, name, result, planned.get(name)) for name, result in results.items()]


def _score(
    path: Path, dimension: str, result: object, planned: Sequence[str] | None
) -> DimensionScore:
    mean, clips = _parts(path, dimension, result)
    scored = [Path(clip["video_path"]).name for clip in clips]
    if planned is None:
        return DimensionScore(dimension, mean, len(scored), by_clip=_by_clip(clips))
    failed = tuple(dict.fromkeys(name for name in planned if name not in set(scored)))
    num_failed = sum(name in failed for name in planned)
    share = (len(planned) - num_failed) / len(planned) if planned else 0.0
    return DimensionScore(
        dimension,
        mean * share if share else 0.0,
        num_scored=len(planned) - num_failed,
        num_planned=len(planned),
        failed=failed,
        by_clip=_by_clip(clips),
    )


def _by_clip(clips: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Return the clips' own results by name, where a dimension gives each clip a number."""
    results = ((clip, _number(clip.get("video_results"))) for clip in clips)
    return {Path(clip["video_path"]).name: n for clip, n in results if math.isfinite(n)}


def _number(value: object) -> float:
    """Return a result as a number; NaN for a text, a list, or an integer beyond all floats."""
    try:
        return float(value) if isinstance(value, bool | int | float) else math.nan
    except OverflowError:
        return math.nan


def _parts(path: Path, dimension: str, result: object) -> tuple[float, list[dict[str, Any]]]:
    """Return a dimension's mean and its clips, or raise a DataError where they are malformed."""
    match result:
        case [bool() | int() | float() as mean, list() as clips] if dimension in DIMENSIONS and all(
            isinstance(clip, dict) and isinstance(clip.get("video_path"), str) for clip in clips
        ):
            if clips and not math.isfinite(_number(mean)):
                said = str(mean)[:20]
                raise DataError(f"{path}: {dimension} has the mean {said}. {_REMEDY}")
            return _number(mean), clips
    raise DataError(
        f"{path}: {dimension[:60]!r} is no dimension of VBench with a mean and its clips. {_REMEDY}"
    )


def _planned_beside(path: Path) -> dict[str, list[str]]:
    """Return the clips that VBench looked for, by dimension, from the file that it wrote first."""
    beside = path.with_name(path.name.removesuffix(SUFFIX) + PROMPTS_SUFFIX)
    if not beside.is_file():
        return {}
    planned: dict[str, list[str]] = {}
    rows = text_files.read_json(beside, remedy=_REMEDY, shape=list)
    for number, row in enumerate(rows, start=1):
        require_row(beside, number, row)
        for dimension in row["dimension"]:
            names = [clip_name(row["prompt_en"], k) for k in range(CLIPS_PER_PROMPT)]
            planned.setdefault(dimension, []).extend(names)
    return planned
