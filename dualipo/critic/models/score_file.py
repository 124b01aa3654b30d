"""Scores that another model gave to clips, read from a file: generic reward models as judges.

The file holds rows of CSV, JSON or JSON Lines, as these projects write them (FORMATS.md, scores):
VideoAlign's `out_single.csv`, VideoScore's results, VisionReward's one number, or one column per
dimension. A row names its clip by a path that ends in the clip's sha256, as in every `clips/`
folder, or by a file beside the table. Scores are divided by their spread over the file, so that a
margin of 1 is a usual one; a run keeps the spread of its first judged round, so that rows added
later change no number. A clip without a score ends the stage with nothing recorded: add the rows
and repeat the command. How well a clip matches a caption that its rows do not name is unknown, and
a question about it abstains. Only two clips of one score are a tie.
"""

import ast
import hashlib
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
from dualipo.store import atomic, row_files

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
# The column that holds each dimension's score: our own, VideoAlign, VideoScore, VisionReward.
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
    """The mean and the spread of each dimension's scores."""

    middle: Scores
    spread: Scores


class ScoreFile:
    """A table of scores by clip and caption; implements `rewards.Rewards`.

    The file may be missing at first (`may_be_missing`), because a run's clips are scored only after
    the run has made them. `scale` is the one that a run keeps; by default it is the file's own.
    """

    def __init__(
        self, path: Path, *, may_be_missing: bool = False, scale: Scale | None = None
    ) -> None:
        self.path = path
        self._by_clip: dict[str, dict[str, Scores]] = {}
        if not may_be_missing or path.exists():
            rows = _read(path)
            columns = _columns_of(path, rows[0][1])
            for line, row in rows:
                self._take(row, columns, f"{path}:{line}")
        all_scores = [
            scores for by_caption in self._by_clip.values() for scores in by_caption.values()
        ]
        self.scale = scale or _scale(all_scores)

    def hash(self) -> str:
        """Return a hash of the file's name, because its rows may grow during a run."""
        return hashlib.sha256(f"scores {self.path.name}".encode()).hexdigest()

    def knows(self, clip_hash: str, *, caption: str | None = None) -> bool:
        """Tell whether the clip has a score, under the caption where one is given."""
        by_caption = self._by_clip.get(clip_hash, {})
        return bool(by_caption) and (caption is None or _under(by_caption, caption) is not None)

    def require(self, shown: Iterable[tuple[str, str]]) -> None:
        """Raise an error unless every (clip hash, caption) has a score."""
        self._refuse(
            {
                clip_hash
                for clip_hash, caption in shown
                if not self.knows(clip_hash, caption=caption)
            }
        )

    def rewards(self, queries: Sequence[Query]) -> list[list[float]]:
        """Return the score of each query's clips in the query's dimension; NaN if unknown."""
        shown = {clip_hash for query in queries for clip_hash in query.clip_hashes}
        self._refuse({clip_hash for clip_hash in shown if not self.knows(clip_hash)})
        return [
            [self._reward(clip_hash, query) for clip_hash in query.clip_hashes] for query in queries
        ]

    def _refuse(self, unknown: set[str]) -> None:
        if unknown:
            raise DataError(
                f"{self.path}: no score of {len(unknown)} clips that are asked about, the first "
                f"{min(unknown)}. List all with `dualipo critic clips RUN --unscored {self.path} "
                "--output clips.csv`, score each for its caption, add the rows, and repeat the "
                "command: nothing is lost."
            )

    def tie_width(self, dimension: Dimension) -> float:
        """Return 0: only two clips of one score are a tie."""
        return 0.0

    def _reward(self, clip_hash: str, query: Query) -> float:
        """Return a clip's scaled score under the query's caption.

        Only consistency depends on the caption; other dimensions take the score of any caption.
        """
        by_caption, dimension = self._by_clip[clip_hash], query.dimension
        scores = _under(by_caption, query.caption)
        if scores is None and dimension == "consistency":
            return math.nan
        scores = scores or next(iter(by_caption.values()))
        return (scores[dimension] - self.scale.middle[dimension]) / self.scale.spread[dimension]

    def _take(self, row: Mapping[str, Any], columns: Mapping[Dimension, str], place: str) -> None:
        """Take the scores of a row; `place` names it in errors."""
        scores: Scores = {}
        for dimension, column in columns.items():
            try:
                scores[dimension] = float(row[column])
            except (KeyError, TypeError, ValueError, OverflowError):
                scores[dimension] = math.nan
            if not math.isfinite(scores[dimension]):
                raise DataError(f"{place}: `{column}` is {row.get(column)!r}. Mend or drop it.")
        caption = next((str(row[name]) for name in _CAPTIONS if name in row), "")
        clip_hash = _clip_hash(self.path, row, place)
        known = self._by_clip.setdefault(clip_hash, {}).setdefault(normalise(caption), scores)
        if known != scores:
            raise DataError(
                f"{place}: an earlier row gives the same clip and caption another score. Keep one."
            )


def _under(by_caption: Mapping[str, Scores], caption: str) -> Scores | None:
    """Return the scores under a caption; a row without a caption stands for the clip's own."""
    return by_caption.get(normalise(caption), by_caption.get(""))


def _scale(scores: Sequence[Scores]) -> Scale:
    """Compute mean and spread of each dimension; equal scores have spread 1."""
    columns = {d: [row[d] for row in scores] or [0.0] for d in DIMENSIONS}
    middle = {d: statistics.fmean(values) for d, values in columns.items()}
    return Scale(middle, {d: statistics.pstdev(values) or 1.0 for d, values in columns.items()})


def _read(path: Path) -> list[tuple[int, dict[str, Any]]]:
    if path.suffix not in (".csv", ".json", ".jsonl"):
        raise DataError(f"{path}: scores are read from .csv, .json and .jsonl. Convert it.")
    rows = [(line, _named(row)) for line, row in row_files.whole_rows(path)]
    if not rows:
        raise DataError(f"{path}: holds no rows of named scores. Write one row a clip.")
    return rows


def _named(row: dict[str, Any]) -> dict[str, Any]:
    """Give VideoScore's list of answers their names; return other rows as they are."""
    if "ans" not in row:
        return row
    try:
        answers = ast.literal_eval(row["ans"]) if isinstance(row["ans"], str) else row["ans"]
        return row | dict(zip(_VIDEOSCORE, answers, strict=True))
    except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError):
        return row


def _columns_of(path: Path, row: Mapping[str, Any]) -> dict[Dimension, str]:
    for columns in FORMATS:
        if {*columns.values()} <= row.keys():
            return columns
    known = "; ".join(", ".join(dict.fromkeys(columns.values())) for columns in FORMATS)
    raise DataError(f"{path}: none of the known columns ({known}). Rename its columns.")


def _clip_hash(path: Path, row: Mapping[str, Any], place: str) -> str:
    """Return the sha256 of the clip that a row is about."""
    name = next((str(row[column]) for column in _NAMES if row.get(column)), None)
    if name is None:
        raise DataError(f"{place}: no clip in any of {', '.join(_NAMES)}. Add its path.")
    if re.fullmatch(r"[0-9a-f]{64}", Path(name).stem):
        return Path(name).stem
    for file in (path.parent / name, path.parent / f"{name}.mp4"):
        if file.is_file():
            return atomic.sha256_file(file)
    raise DataError(f"{place}: {name}: no such clip. Paths start at the table's folder.")
