"""Scores that another model gave to clips, read from a file: generic reward models as judges.

Rows of CSV, JSON or JSON Lines, as these projects write them (FORMATS.md, scores): VideoAlign's
`out_single.csv`, VideoScore's results, VisionReward's one number, or a column a dimension. A clip
is named by its content: by a path that ends in its sha256, as in every `clips/` folder here, or by
a file beside the table. Scores are divided by their spread over the file, so that a margin of 1 is
a usual one. A clip without a score ends the stage with nothing recorded: the file may grow, and the
repeated command goes on. Leaves out ties: such models have none.
"""

import ast
import csv
import hashlib
import json
import math
import re
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from dualipo.captions import normalise
from dualipo.critic.vlm import Query
from dualipo.errors import DataError
from dualipo.records import DIMENSIONS, Dimension
from dualipo.store import atomic

Scores = dict[Dimension, float]

_NAMES = ("path", "video_path", "video", "id")
_CAPTIONS = ("prompt", "text prompt", "caption", "text")
# VideoScore's five answers in their order; `ans` holds them as one text.
_VIDEOSCORE = (
    "visual quality",
    "temporal consistency",
    "dynamic degree",
    "text-to-video alignment",
    "factual consistency",
)
# Which column speaks of which dimension: our own, VideoAlign, VideoScore, VisionReward.
FORMATS: tuple[dict[Dimension, str], ...] = (
    {"consistency": "consistency", "faithfulness": "faithfulness", "motion": "motion"},
    {"consistency": "reward_TA", "faithfulness": "reward_VQ", "motion": "reward_MQ"},
    {
        "consistency": "text-to-video alignment",
        "faithfulness": "visual quality",
        "motion": "temporal consistency",
    },
    {"consistency": "score", "faithfulness": "score", "motion": "score"},
)


class ScoreFile:
    """Scores by clip; implements `rewards.Rewards`."""

    def __init__(self, path: Path, *, may_be_missing: bool = False) -> None:
        """`may_be_missing`: a run's first clips are scored after the run has made them."""
        self.path = path
        self._found: dict[str, dict[str, Scores]] = {}
        if not may_be_missing or path.exists():
            rows = _read(path)
            columns = _columns_of(path, rows[0])
            for number, row in enumerate(rows, start=1):
                self._take(row, columns, f"{path}: row {number}")
        every = [scores for one in self._found.values() for scores in one.values()]
        self._middle, self._spread = _scale(every)

    def hash(self) -> str:
        """Names the file; which clips it knows may grow."""
        return hashlib.sha256(f"scores {self.path.name}".encode()).hexdigest()

    def knows(self, clip_id: str) -> bool:
        """Whether the clip has a score."""
        return clip_id in self._found

    def rewards(self, queries: Sequence[Query]) -> list[list[float]]:
        """A number for each clip of each query, in the query's dimension."""
        unknown = sorted({c for query in queries for c in query.clip_ids if not self.knows(c)})
        if unknown:
            raise DataError(
                f"{self.path}: no score of {len(unknown)} clips that are asked about, the first "
                f"{unknown[0]}. List all with `dualipo critic clips RUN --unscored {self.path} "
                "--output clips.csv`, score them, add the rows, and repeat the command: nothing is "
                "lost."
            )
        return [[self._reward(clip, query) for clip in query.clip_ids] for query in queries]

    def tie_width(self, dimension: Dimension) -> float:
        """Not known."""
        return 0.0

    def _reward(self, clip_id: str, query: Query) -> float:
        """Under the query's caption; a file that knows a clip under one other says that."""
        by_caption = self._found[clip_id]
        scores = by_caption.get(normalise(query.caption), next(iter(by_caption.values())))
        dimension = query.dimension
        return (scores[dimension] - self._middle[dimension]) / self._spread[dimension]

    def _take(self, row: Mapping[str, Any], columns: Mapping[Dimension, str], where: str) -> None:
        scores: Scores = {}
        for dimension, column in columns.items():
            try:
                scores[dimension] = float(row[column])
            except (KeyError, TypeError, ValueError):
                scores[dimension] = math.nan
            if not math.isfinite(scores[dimension]):
                raise DataError(f"{where}: `{column}` is {row.get(column)!r}. Mend or drop it.")
        caption = next((str(row[name]) for name in _CAPTIONS if name in row), "")
        clip = _clip(self.path, row, where)
        self._found.setdefault(clip, {})[normalise(caption)] = scores


def _scale(scores: Sequence[Scores]) -> tuple[Scores, Scores]:
    """Mean and spread a dimension; a model that says one thing only has spread 1."""
    columns = {d: [one[d] for one in scores] or [0.0] for d in DIMENSIONS}
    middle = {d: statistics.fmean(values) for d, values in columns.items()}
    return middle, {d: statistics.pstdev(values) or 1.0 for d, values in columns.items()}


def _read(path: Path) -> list[dict[str, Any]]:
    try:
        if path.suffix == ".csv":
            with open(path, newline="", encoding="utf-8") as stream:
                rows: Any = list(csv.DictReader(stream))
        elif path.suffix == ".jsonl":
            rows = [json.loads(line) for line in path.read_text().splitlines() if line.strip()]
        elif path.suffix == ".json":
            rows = json.loads(path.read_text())
        else:
            raise DataError(f"{path}: scores are read from .csv, .json and .jsonl. Convert it.")
    except OSError as refusal:
        raise DataError(f"{path}: {refusal.strerror}. Name a file of scores.") from None
    except ValueError as broken:
        raise DataError(f"{path}: cannot be read ({broken}). Write it again.") from None
    if not isinstance(rows, list) or not rows or not all(isinstance(row, dict) for row in rows):
        raise DataError(f"{path}: holds no rows of named scores. Write one row a clip.")
    return [_named(row) for row in rows]


def _named(row: dict[str, Any]) -> dict[str, Any]:
    """VideoScore's list of answers under their names."""
    if "ans" not in row:
        return row
    try:
        answers = ast.literal_eval(row["ans"]) if isinstance(row["ans"], str) else row["ans"]
        return row | dict(zip(_VIDEOSCORE, answers, strict=True))
    except (ValueError, SyntaxError, TypeError):
        return row


def _columns_of(path: Path, row: Mapping[str, Any]) -> dict[Dimension, str]:
    for columns in FORMATS:
        if {*columns.values()} <= row.keys():
            return columns
    known = "; ".join(", ".join(dict.fromkeys(columns.values())) for columns in FORMATS)
    raise DataError(f"{path}: none of the known columns ({known}). Rename its columns.")


def _clip(path: Path, row: Mapping[str, Any], where: str) -> str:
    """The sha256 of the clip that a row is about."""
    name = next((str(row[column]) for column in _NAMES if row.get(column)), None)
    if name is None:
        raise DataError(f"{where}: no clip in any of {', '.join(_NAMES)}. Add its path.")
    if re.fullmatch(r"[0-9a-f]{64}", Path(name).stem):
        return Path(name).stem
    for file in (path.parent / name, path.parent / f"{name}.mp4"):
        if file.is_file():
            return atomic.sha256_file(file)
    raise DataError(f"{where}: {name}: no such clip. Paths start at the table's folder.")
