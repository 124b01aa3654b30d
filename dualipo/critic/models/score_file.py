"""Scores that another model gave to clips, read from a file: generic reward models as judges.

Rows of CSV, JSON or JSON Lines, as these projects write them (FORMATS.md, scores): VideoAlign's
`out_single.csv`, VideoScore's results, VisionReward's one number, or a column a dimension. A clip
is named by its content: by a path that ends in its sha256, as in every `clips/` folder here, or by
a file beside the table. Scores are divided by their spread over the file, so that a margin of 1 is
a usual one; a run keeps the spread of its first judged round, so that rows added later change no
number. A clip without a score ends the stage with nothing recorded: the file may grow, and the
repeated command goes on. How well a clip matches a caption that its rows do not name is not known,
and asking for it abstains. Leaves out ties: such models have none.
"""

import ast
import csv
import hashlib
import json
import math
import re
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
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


@dataclass(frozen=True)
class Scale:
    """Mean and spread of each dimension's scores."""

    middle: Scores
    spread: Scores


class ScoreFile:
    """Scores by clip; implements `rewards.Rewards`."""

    def __init__(
        self, path: Path, *, may_be_missing: bool = False, scale: Scale | None = None
    ) -> None:
        """`may_be_missing`: a run's first clips are scored after the run has made them.

        `scale` is what a run keeps; by default that of the file as it stands.
        """
        self.path = path
        self._found: dict[str, dict[str, Scores]] = {}
        if not may_be_missing or path.exists():
            rows = _read(path)
            columns = _columns_of(path, rows[0])
            for number, row in enumerate(rows, start=1):
                self._take(row, columns, f"{path}: row {number}")
        every = [scores for one in self._found.values() for scores in one.values()]
        self.scale = scale or _scale(every)

    def hash(self) -> str:
        """Names the file; which clips it knows may grow."""
        return hashlib.sha256(f"scores {self.path.name}".encode()).hexdigest()

    def knows(self, clip_hash: str, *, caption: str | None = None) -> bool:
        """Whether the clip has a score, of the caption where one is given."""
        by_caption = self._found.get(clip_hash, {})
        return bool(by_caption) and (caption is None or _under(by_caption, caption) is not None)

    def require(self, shown: Iterable[tuple[str, str]]) -> None:
        """Refuse, with all that is missing, unless every (clip, caption) has a score."""
        self._refuse({clip for clip, caption in shown if not self.knows(clip, caption=caption)})

    def rewards(self, queries: Sequence[Query]) -> list[list[float]]:
        """A number for each clip of each query, in the query's dimension; NaN if not known."""
        self._refuse({c for query in queries for c in query.clip_hashes if not self.knows(c)})
        return [[self._reward(clip, query) for clip in query.clip_hashes] for query in queries]

    def _refuse(self, unknown: set[str]) -> None:
        if unknown:
            raise DataError(
                f"{self.path}: no score of {len(unknown)} clips that are asked about, the first "
                f"{min(unknown)}. List all with `dualipo critic clips RUN --unscored {self.path} "
                "--output clips.csv`, score each for its caption, add the rows, and repeat the "
                "command: nothing is lost."
            )

    def tie_width(self, dimension: Dimension) -> float:
        """Not known."""
        return 0.0

    def _reward(self, clip_hash: str, query: Query) -> float:
        """Under the query's caption; what no caption matters to is known under any."""
        by_caption, dimension = self._found[clip_hash], query.dimension
        scores = _under(by_caption, query.caption)
        if scores is None and dimension == "consistency":
            return math.nan
        scores = scores or next(iter(by_caption.values()))
        return (scores[dimension] - self.scale.middle[dimension]) / self.scale.spread[dimension]

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


def _under(by_caption: Mapping[str, Scores], caption: str) -> Scores | None:
    """The scores for a caption; a row that names none is of the clip's own."""
    return by_caption.get(normalise(caption), by_caption.get(""))


def _scale(scores: Sequence[Scores]) -> Scale:
    """Mean and spread a dimension; a model that says one thing only has spread 1."""
    columns = {d: [one[d] for one in scores] or [0.0] for d in DIMENSIONS}
    middle = {d: statistics.fmean(values) for d, values in columns.items()}
    return Scale(middle, {d: statistics.pstdev(values) or 1.0 for d, values in columns.items()})


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
