"""Reads data sets that grade one clip: diffusion-kto, VisionReward, VideoFeedback.

Their answers become our grades Good, Normal and Bad by rules of ours, which FORMATS.md lists.
"""

import re
import statistics
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from dualipo import text_files
from dualipo.preferences.importers.row import (
    Dropped,
    Footage,
    Judged,
    Row,
    Settings,
    Unfit,
    choice,
    number,
    optional_text,
    pair,
    point,
    text,
    voice,
)
from dualipo.records import Dimension, Grade, Source, Verdict
from dualipo.store import row_files

# diffusion-kto's third word is for a file that won some of its comparisons and lost others.
EXCLUSIVE: dict[str, Grade | None] = {
    "exclusive_win": "good",
    "exclusive_lose": "bad",
    "intersections": None,
}

# VideoScore's scale: 1 Bad, 2 Average, 3 Good, 4 Perfect. Temporal consistency is the nearest to
# smooth motion; dynamic degree is its amount, and factual consistency has no dimension here.
VIDEOFEEDBACK: dict[str, Dimension] = {
    "text-to-video alignment": "consistency",
    "visual quality": "faithfulness",
    "temporal consistency": "motion",
}
VIDEOFEEDBACK_REST = ("dynamic degree", "factual consistency")
VIDEOFEEDBACK_GRADES: dict[str, Grade] = {"1": "bad", "2": "normal", "3": "good", "4": "good"}

# The words of VisionRewardDB's pairs. Its card does not list them; these are the words that the
# evaluation of VideoScore2 compares with. Any other word is refused.
STANDARD_ANSWERS: dict[str, Verdict] = {"video1": "a", "video2": "b", "tie": "tie"}

# VisionReward's questions of a dimension, with their best answer; the worst is 1. Some start at
# 0, which we read as "does not apply": they ask of shapes and movements that a clip may not have.
VISIONREWARD: dict[Dimension, dict[str, int]] = {
    "consistency": {"alignment": 5},
    "faithfulness": {
        "clear": 5,
        "image quality stability": 5,
        "detail refinement": 5,
        "shape throughout": 4,
    },
    "motion": {"movement smoothness": 4, "movement reality": 4},
}


def diffusion_kto(row: Row, settings: Settings) -> Iterator[Judged | Dropped]:
    """Yield a file that won all its comparisons, or lost them all.

    The script reads `file_name` and `split`; its page says `file_path` and `label`. A caption that
    is missing is empty to the script, which a critic cannot be asked about.
    """
    word = "split" if row.get("split") is not None else "label"
    grade = choice(row, word, EXCLUSIVE)
    if grade is None:
        yield Dropped(f"{word} is `intersections`: neither always better nor always worse")
    elif not optional_text(row, "caption"):
        yield Dropped("no caption")
    else:
        name = "file_name" if row.get("file_name") is not None else "file_path"
        yield point(
            text(row, "caption"),
            Footage((text(row, name),)),
            dimension=settings.dimension,
            grade=grade,
            voice=voice(row, settings),
        )


def visionreward(row: Row, settings: Settings) -> Iterator[Judged | Dropped]:
    """Yield grades for a row of the part `train`, a pair for one of `regression` or `test`."""
    if row.get("video1_path") is not None:
        yield _visionreward_pair(row, settings)
    else:
        yield from _visionreward_grades(row, settings)


def _visionreward_pair(row: Row, settings: Settings) -> Judged:
    return pair(
        text(row, "prompt"),
        Footage((text(row, "video1_path"),)),
        Footage((text(row, "video2_path"),)),
        dimension="overall",
        verdict=choice(row, "standard_answer", STANDARD_ANSWERS),
        voice=voice(row, settings),
    )


def _visionreward_grades(row: Row, settings: Settings) -> Iterator[Judged | Dropped]:
    """Yield a grade for each dimension: the third in which the mean of its answers lies."""
    annotation = row.get("annotation")
    if isinstance(annotation, str):
        try:
            annotation = text_files.json_value(annotation)
        except text_files.Unreadable:
            annotation = None
    if not isinstance(annotation, dict):
        raise Unfit("`annotation` holds no named answers.")
    for dimension, questions in VISIONREWARD.items():
        places = [_place(annotation, name, best) for name, best in questions.items()]
        known = [place for place in places if place is not None]
        if not known:
            yield Dropped(f"nothing to judge in {dimension}")
            continue
        yield point(
            text(row, "prompt"),
            Footage((text(row, "video_path"),)),
            dimension=dimension,
            grade=_third(statistics.fmean(known)),
            voice=voice(row, settings),
        )


def _place(annotation: dict[str, Any], name: str, best: int) -> float | None:
    """Return the answer's place between worst (0) and best (1); None where it does not apply."""
    answer = number(annotation, name)
    lowest = 0 if best == 4 else 1
    if not lowest <= answer <= best:
        raise Unfit(f"`annotation`: `{name}` is {answer:g}, not {lowest} to {best}.")
    return (answer - 1) / (best - 1) if answer else None


def _third(place: float) -> Grade:
    # The margin is there because (3 - 1) / (4 - 1) is not exactly two thirds in floating point.
    if place >= 2 / 3 - 1e-9:
        return "good"
    return "normal" if place >= 1 / 3 - 1e-9 else "bad"


def videofeedback_rows(path: Path) -> row_files.Lines:
    """Yield the rows with a source, where the file's path names VideoFeedback's part.

    People graded the part `annotated`; in the part `real` every clip has the best grades by rule.
    """
    names = {*re.split(r"[_.-]", path.name.lower()), path.parent.name.lower()}
    part = "simulated" if "real" in names else "human" if "annotated" in names else None
    for line, row in row_files.rows(path):
        if part and not isinstance(row, Unfit):
            row = {"source": part} | row
        yield line, row


def videofeedback(row: Row, settings: Settings) -> Iterator[Judged]:
    """Yield three grades; frames lie where the authors' zip files put them."""
    clip_id = text(row, "id")
    frames = row.get("images") or []
    if not (isinstance(frames, list) and all(isinstance(name, str) for name in frames)):
        raise Unfit("`images` is not a list of file names.")
    clip = Footage(
        (f"{clip_id}.mp4", f"videos/{clip_id}.mp4"),
        frames=tuple(frames),
        frame_folders=("", f"{clip_id}/", f"images/{clip_id}/", f"frames/{clip_id}/"),
    )
    for column, dimension in VIDEOFEEDBACK.items():
        yield point(
            text(row, "text prompt"),
            clip,
            dimension=dimension,
            grade=choice({column: _whole(row.get(column))}, column, VIDEOFEEDBACK_GRADES),
            voice=voice(row, settings, source=_by_rule(row)),
        )


def _by_rule(row: Row) -> Source | None:
    """Return "simulated" for a row that looks like one of the part `real`, where nothing says so.

    Its ids are an r and a number, and it has the grade 4 everywhere. People graded all other rows,
    also those whose ids begin with a letter.
    """
    grades = [_whole(row.get(name)) for name in (*VIDEOFEEDBACK, *VIDEOFEEDBACK_REST)]
    is_best = all(str(grade) == "4" for grade in grades if grade is not None)
    return "simulated" if is_best and re.fullmatch(r"r\d+", text(row, "id")) else None


def _whole(value: Any) -> Any:
    """Turn a score back into an integer, where pandas made it a float."""
    return int(value) if isinstance(value, float) and value.is_integer() else value
