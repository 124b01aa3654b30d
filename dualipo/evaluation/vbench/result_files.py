"""The result files that VBench writes: `*_eval_results.json`.

    {dimension: [mean, [{"video_path": ..., "video_results": ...}, ...]]}

The mean is VBench's own: some dimensions weigh clips by their frames, and the clips of imaging
quality have points of 100. VBench leaves out a clip that it cannot read, or that is not there, and
its mean rises. Here such a clip is named and counts as a zero: the mean is multiplied by the share
of the planned clips that were scored.

`color` alone is the mean over the clips in which VBench sees the object in some colour. It has no
number for the others; they are left out here, too, where the `*_full_info.json` beside the results
says that VBench was shown them.
"""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dualipo import text_files
from dualipo.errors import DataError
from dualipo.evaluation.vbench.prompt_file import CLIPS_PER_PROMPT, clip_name, require_row
from dualipo.evaluation.vbench.totals import DIMENSIONS

SUFFIX = "_eval_results.json"
PROMPTS_SUFFIX = "_full_info.json"
COLOR = "color"
_CLIP_POINTS = {"imaging_quality": 100.0}  # how many points its clips have for the mean's 1
_LARGEST = 1.001  # of a raw score, which is a share or a cosine, with room for rounding
_REMEDY = "Run VBench again for this dimension, or name another folder."


@dataclass(frozen=True)
class DimensionScore:
    """A dimension's raw score over all planned clips, with the names of clips without a result.

    Each of `failed` counts as zero; `left_out` are the clips that color does not count.
    `num_planned` is None where nothing says how many clips there should have been. `by_clip` is on
    the scale of `raw`.
    """

    dimension: str
    raw: float
    num_scored: int
    num_planned: int | None = None
    failed: tuple[str, ...] = ()
    by_clip: Mapping[str, float] = field(default_factory=dict)
    left_out: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Beside:
    """The clips that VBench looked for and those that were there, by dimension."""

    planned: dict[str, list[str]] = field(default_factory=dict)
    shown: dict[str, set[str]] = field(default_factory=dict)


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
        for score in read(path, planned):
            before = scores.setdefault(score.dimension, score)
            if before != score:
                raise DataError(
                    f"{path}: {score.dimension} has another score in another file of this folder. "
                    "Leave one of them there."
                )
    return scores


def read(path: Path, planned: Mapping[str, Sequence[str]] | None = None) -> list[DimensionScore]:
    """Return the scores of one result file; `planned` is as in `read_folder`."""
    results = text_files.read_json(path, remedy=_REMEDY, shape=dict)
    beside = _beside(path)
    names = beside.planned if planned is None else planned
    return [
        _score(path, name, result, names.get(name), beside.shown.get(name, set()))
        for name, result in results.items()
    ]


def _score(
    path: Path,
    dimension: str,
    result: object,
    planned: Sequence[str] | None,
    shown: Collection[str],
) -> DimensionScore:
    mean, clips = _parts(path, dimension, result)
    by_clip = _by_clip(dimension, clips)
    if planned is None:
        _require_share(path, dimension, mean)
        return DimensionScore(dimension, mean, len(clips), by_clip=by_clip)
    scored = _require_planned(path, dimension, clips, planned)
    unscored = [name for name in planned if name not in scored]
    left_out = [name for name in unscored if dimension == COLOR and name in shown]
    num_failed = len(unscored) - len(left_out)
    num_scored = len(planned) - len(unscored)
    share = num_scored / (num_scored + num_failed) if num_scored else 0.0
    return DimensionScore(
        dimension,
        mean * share if share else 0.0,
        num_scored=num_scored,
        num_planned=len(planned),
        failed=tuple(dict.fromkeys(name for name in unscored if name not in left_out)),
        by_clip=by_clip,
        left_out=tuple(dict.fromkeys(left_out)),
    )


def _require_planned(
    path: Path, dimension: str, clips: Sequence[Mapping[str, Any]], planned: Sequence[str]
) -> set[str]:
    """Return the names of the scored clips; refuse a mean that other prompts' clips are part of."""
    scored = {_name_of(clip["video_path"]) for clip in clips}
    if others := scored - {*planned}:
        raise DataError(
            f"{path}: {dimension} scores {len(others)} clips that are not of its prompts, the "
            f"first {min(others)[:80]!r}. Name the prompt file that they were made from."
        )
    return scored


def _require_share(path: Path, dimension: str, mean: float) -> None:
    """Refuse a mean that no dimension of VBench can have; NaN is none."""
    if not abs(mean) <= _LARGEST:
        said = f"{mean:g}"
        raise DataError(
            f"{path}: {dimension} has the mean {said}, and VBench's are between -1 and 1. {_REMEDY}"
        )


def _by_clip(dimension: str, clips: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Return the clips' own results by name, where a dimension gives each clip a number."""
    points = _CLIP_POINTS.get(dimension, 1.0)
    results = ((clip, _number(clip.get("video_results"))) for clip in clips)
    return {_name_of(clip["video_path"]): n / points for clip, n in results if math.isfinite(n)}


def _name_of(video_path: str) -> str:
    """Return the name under which a clip is planned; VBench reads other formats than MP4, too."""
    return Path(video_path.replace("\\", "/")).stem + ".mp4"


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
            if clips:
                _require_share(path, dimension, _number(mean))
            return _number(mean), clips
    raise DataError(
        f"{path}: {dimension[:60]!r} is no dimension of VBench with a mean and its clips. {_REMEDY}"
    )


def _beside(path: Path) -> _Beside:
    """Return what the file says that VBench writes before it scores; nothing where it is gone.

    As many clips of each prompt are planned as any prompt has: five, or fewer where so many were
    sampled.
    """
    source = path.with_name(path.name.removesuffix(SUFFIX) + PROMPTS_SUFFIX)
    beside = _Beside()
    rows = text_files.read_json(source, remedy=_REMEDY, shape=list) if source.is_file() else []
    for number, row in enumerate(rows, start=1):
        require_row(source, number, row)
    num_clips = max(map(_num_clips, rows), default=0) or CLIPS_PER_PROMPT
    for row in rows:
        names = [clip_name(row["prompt_en"], k) for k in range(num_clips)]
        for dimension in row["dimension"]:
            beside.planned.setdefault(dimension, []).extend(names)
            beside.shown.setdefault(dimension, set()).update(_shown(row))
    return beside


def _num_clips(row: Mapping[str, Any]) -> int:
    """Return the place of the last of a prompt's clips that VBench found."""
    names, shown = (clip_name(row["prompt_en"], k) for k in range(CLIPS_PER_PROMPT)), _shown(row)
    return max((place for place, name in enumerate(names, start=1) if name in shown), default=0)


def _shown(row: Mapping[str, Any]) -> list[str]:
    """Return the names of a prompt's clips that VBench found; it writes one path or a list."""
    listed = row.get("video_list", [])
    paths = listed if isinstance(listed, list) else [listed]
    return [_name_of(path) for path in paths if isinstance(path, str)]
