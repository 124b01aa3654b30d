"""Reads what reward models that write are trained on: UnifiedReward's and VideoScore2's files.

A row is a question and its answer, either as `conversations` (a human's turn, then gpt's) or as
`problem` and `solution`. The caption and the label stand in these texts:

    UnifiedReward   "... Text Caption: [A cat.]"         "Video 1 is better than Video 2."
                    "... Text Prompt: [A cat.]"          "visual quality: 4 ... Final Score: 6"
    VideoScore2     "... its text prompt: A cat. Based   "<think>...</think> (1) visual quality: 4
                    on the video content ..."            (2) text-to-video alignment: 3 ..."

VideoScore2's tables before that step have columns: `prompt`, `visual_score` and so on.
"""

import re
from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath
from typing import Any

from dualipo.preferences.importers.point_formats import VIDEOFEEDBACK, VIDEOFEEDBACK_GRADES
from dualipo.preferences.importers.row import (
    Dropped,
    Footage,
    Judged,
    Row,
    Settings,
    Unfit,
    number,
    pair,
    point,
    text,
    voice,
)
from dualipo.records import Dimension, Grade, Verdict

FRAME_FOLDERS = ("", "images/", "frames/", "videos/")

_ANSWER = re.compile(r"<answer>(.*?)</answer>", re.S)
_THOUGHT = re.compile(r"<think>.*?</think>", re.S)
_CAPTION = re.compile(r"Text (?:Caption|Prompt): \[(.*)\]", re.S)
_BETTER = re.compile(r"\bVideo ([12]) is better\b")
_EQUAL = re.compile(r"\bBoth videos are equally good\b")
_OTHER_TASK = re.compile(r"\b(?:Image|Answer|Response) ?\d is better\b")

_SCORE = r"\s*:\s*([\d.]*\d)"
# VideoScore2's columns, their dimensions, and their scores in an answer.
VIDEOSCORE2: tuple[tuple[str, Dimension, str], ...] = (
    ("visual_score", "faithfulness", "visual quality"),
    ("t2v_score", "consistency", "text-to-video alignment"),
    ("phy_score", "motion", r"(?:physical|common-sense)[\w /-]* consistency"),
)
_VIDEOSCORE2_ANSWER = {
    column: re.compile(f"{words}{_SCORE}", re.I) for column, _, words in VIDEOSCORE2
}
_VIDEOSCORE2_CAPTION = re.compile(
    r"text prompt:\s*(.*)\s*Based on the video content|Video prompt:\s*(.*?)\s*Please output", re.S
)
_VIDEO_FOLDERS = ("", "videos/", "vs2_videos/", *(f"videos_27k_{part}/" for part in range(1, 7)))


def unified_reward(row: Row, settings: Settings) -> Iterator[Judged | Dropped]:
    """Yield the pair of a comparison, or three grades of a scored clip.

    The frames of a pair are one list, as its trainer takes it: the first half is video 1.
    """
    question, answer = _turns(row)
    if _OTHER_TASK.search(answer):
        yield Dropped("it compares images or answers")
        return
    match = _CAPTION.search(question)
    if not match:
        raise Unfit("The question holds no `Text Caption: [...]` and no `Text Prompt: [...]`.")
    caption = match[1]
    if verdict := _verdict(answer):
        clip_a, clip_b = _both_clips(row)
        yield pair(
            caption,
            clip_a,
            clip_b,
            dimension=settings.dimension,
            verdict=verdict,
            voice=voice(row, settings),
        )
    else:
        yield from _scored(row, caption, answer, settings)


def videoscore2(row: Row, settings: Settings) -> Iterator[Judged]:
    """Yield three grades of 1 to 5: 1 and 2 are bad, 3 is normal, 4 and 5 are good."""
    if row.get("visual_score") is not None:
        caption, scores = text(row, "prompt"), row
    else:
        question, answer = _turns(row)
        caption, scores = _videoscore2_caption(question), _scores(answer, _VIDEOSCORE2_ANSWER)
    for column, dimension, _ in VIDEOSCORE2:
        yield point(
            caption,
            _videoscore2_clip(row),
            dimension=dimension,
            grade=_grade_of_five(scores, column),
            voice=voice(row, settings),
        )


def _turns(row: Row) -> tuple[str, str]:
    """Return the question and the answer without what was thought before it."""
    if row.get("problem") is not None:
        question, answer = text(row, "problem"), text(row, "solution")
    else:
        turns = row.get("conversations")
        if not isinstance(turns, list) or len(turns) != 2 or not all(map(_is_turn, turns)):
            raise Unfit("`conversations` is not one question by human and one answer by gpt.")
        question, answer = (turn["value"] for turn in turns)
    stated = _ANSWER.findall(answer)
    return question, stated[-1] if stated else _THOUGHT.sub("", answer)


def _is_turn(turn: Any) -> bool:
    return isinstance(turn, dict) and isinstance(turn.get("value"), str)


def _verdict(answer: str) -> Verdict | None:
    """Return the one verdict of an answer; None where it compares nothing."""
    winners = {*_BETTER.findall(answer)}
    if len(winners) + bool(_EQUAL.search(answer)) > 1:
        raise Unfit(f"The answer {answer[:60]!r} has two verdicts.")
    if winners:
        return "a" if winners == {"1"} else "b"
    return "tie" if _EQUAL.search(answer) else None


def _both_clips(row: Row) -> tuple[Footage, Footage]:
    videos = _names(row, "videos")
    if videos:
        if len(videos) != 2:
            raise Unfit(f"`videos` names {len(videos)} clips, and a pair has two.")
        return _clip(videos[0]), _clip(videos[1])
    frames = _names(row, "images")
    if not frames or len(frames) % 2:
        raise Unfit(f"`images` names {len(frames)} frames, which are not two equal halves.")
    half = len(frames) // 2
    return _of_frames(frames[:half]), _of_frames(frames[half:])


def _scored(row: Row, caption: str, answer: str, settings: Settings) -> Iterator[Judged]:
    patterns = {name: re.compile(rf"{re.escape(name)}{_SCORE}", re.I) for name in VIDEOFEEDBACK}
    scores = _scores(answer, patterns)
    videos, frames = _names(row, "videos"), _names(row, "images")
    for name, dimension in VIDEOFEEDBACK.items():
        if scores[name] not in VIDEOFEEDBACK_GRADES:
            raise Unfit(f"The answer's {name} is {scores[name]}, none of 1 to 4.")
        yield point(
            caption,
            _clip(videos[0]) if len(videos) == 1 else _of_frames(frames),
            dimension=dimension,
            grade=VIDEOFEEDBACK_GRADES[scores[name]],
            voice=voice(row, settings),
        )


def _scores(answer: str, patterns: Mapping[str, re.Pattern[str]]) -> dict[str, str]:
    """Return the one number that the answer gives for each name."""
    scores: dict[str, str] = {}
    for name, pattern in patterns.items():
        given = {*pattern.findall(answer)}
        if len(given) != 1:
            raise Unfit(f"The answer {answer[:60]!r} has {len(given)} values for {name}.")
        scores[name] = given.pop()
    return scores


def _videoscore2_caption(question: str) -> str:
    match = _VIDEOSCORE2_CAPTION.search(question)
    if not match:
        raise Unfit("The question names no text prompt before `Based on the video content`.")
    return (match[1] or match[2] or "").strip()


def _videoscore2_clip(row: Row) -> Footage:
    """Return the clip under the names that the authors' own scripts and their zip files give it."""
    videos = _names(row, "videos")
    if videos:
        given = videos[0]
    elif row.get("path") is not None:
        given = text(row, "path")
    else:
        given = f"{text(row, 'video_name')}.mp4"
    bare = PurePosixPath(given).name
    return Footage(tuple(dict.fromkeys((given, *(f"{each}{bare}" for each in _VIDEO_FOLDERS)))))


def _grade_of_five(scores: Mapping[str, Any], column: str) -> Grade:
    score = number(dict(scores), column)
    if not 1 <= score <= 5:
        raise Unfit(f"`{column}` is {score:g}, not 1 to 5.")
    return "bad" if score < 2.5 else "normal" if score < 3.5 else "good"


def _names(row: Row, column: str) -> list[str]:
    names = row.get(column)
    if names is None:
        return []
    if not isinstance(names, list) or not all(isinstance(name, str) and name for name in names):
        raise Unfit(f"`{column}` is not a list of file names.")
    return names


def _clip(name: str) -> Footage:
    return Footage((name, f"videos/{name}"))


def _of_frames(names: list[str]) -> Footage:
    if not names:
        raise Unfit("The row names no clip: `videos` and `images` are empty.")
    return Footage(frames=tuple(names), frame_folders=FRAME_FOLDERS)
