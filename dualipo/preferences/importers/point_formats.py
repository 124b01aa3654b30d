"""Reads data sets that grade one clip: TRL's KTO, diffusion-kto, VisionReward, VideoFeedback, LiFT.

Their answers become our grades Good, Normal and Bad by rules of ours, which FORMATS.md lists.
"""

import json
import re
import statistics
from collections.abc import Iterator
from typing import Any

from dualipo.preferences.importers.pair_formats import answer_of, caption_of
from dualipo.preferences.importers.row import (
    Dropped,
    Footage,
    Judged,
    Row,
    Settings,
    Unfit,
    choice,
    number,
    point,
    text,
    voice,
)
from dualipo.records import Dimension, Grade

TRUTHS: dict[str, Grade] = {"True": "good", "true": "good", "False": "bad", "false": "bad"}
EXCLUSIVE: dict[str, Grade] = {"exclusive_win": "good", "exclusive_lose": "bad"}

# VideoScore's scale: 1 Bad, 2 Average, 3 Good, 4 Perfect. Temporal consistency is the nearest to
# smooth motion; dynamic degree is its amount, and factual consistency has no dimension here.
VIDEOFEEDBACK: dict[str, Dimension] = {
    "text-to-video alignment": "consistency",
    "visual quality": "faithfulness",
    "temporal consistency": "motion",
}
VIDEOFEEDBACK_GRADES: dict[str, Grade] = {"1": "bad", "2": "normal", "3": "good", "4": "good"}

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

LIFT: dict[str, Dimension] = {
    "semantic consistency": "consistency",
    "fidelity": "faithfulness",
    "motion": "motion",
}
LIFT_GRADES: dict[str, Grade] = {"Good": "good", "Normal": "normal", "Bad": "bad"}
LIFT_KEYS = ("semantic consistency", "fidelity issues", "motion issues")
LIFT_CRITIC = "LiFT-Critic"
_LIFT_QUESTION = re.compile(
    r"^(?P<caption>.*?)\s*Please identify the "
    r"(?P<about>semantic consistency|fidelity|motion) issues",
    re.S,
)
_LIFT_ANSWER = re.compile(r"^(?P<grade>Good|Normal|Bad)\b[\s.:,;]*(?P<reason>.*)$", re.S)
_MEDIA_TOKENS = re.compile(r"(?:\s*<(?:video|image|im_start|im_end|vila/video)>)+\s*")


def trl_kto(row: Row, settings: Settings) -> Iterator[Judged]:
    """Yield a `completion` that is desirable or not, by its `label`."""
    yield point(
        caption_of(row["prompt"]),
        Footage((answer_of(row, "completion"),)),
        dimension=settings.dimension,
        grade=choice(row, "label", TRUTHS),
        voice=voice(row, settings),
    )


def diffusion_kto(row: Row, settings: Settings) -> Iterator[Judged]:
    """Yield a file that won all its comparisons, or lost them all."""
    yield point(
        text(row, "caption"),
        Footage((text(row, "file_path"),)),
        dimension=settings.dimension,
        grade=choice(row, "label", EXCLUSIVE),
        voice=voice(row, settings),
    )


def visionreward(row: Row, settings: Settings) -> Iterator[Judged | Dropped]:
    """Yield a grade for each dimension: the third in which the mean of its answers lies."""
    annotation = row["annotation"]
    if isinstance(annotation, str):
        try:
            annotation = json.loads(annotation)
        except ValueError:
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


def videofeedback(row: Row, settings: Settings) -> Iterator[Judged]:
    """Yield three grades: people's where the clip's id is a number, a program's otherwise."""
    clip_id = text(row, "id")
    frames = row.get("images") or []
    if not (isinstance(frames, list) and all(isinstance(name, str) for name in frames)):
        raise Unfit("`images` is not a list of file names.")
    clip = Footage((f"{clip_id}.mp4", f"videos/{clip_id}.mp4"), frames=tuple(frames))
    by_rule = None if clip_id.isdigit() else "simulated"
    for column, dimension in VIDEOFEEDBACK.items():
        yield point(
            text(row, "text prompt"),
            clip,
            dimension=dimension,
            grade=choice({column: _whole(row.get(column))}, column, VIDEOFEEDBACK_GRADES),
            voice=voice(row, settings, source=by_rule),  # type: ignore[arg-type]
        )


def _whole(value: Any) -> Any:
    """Turn a score back into an integer, where pandas made it a float."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def lift(row: Row, settings: Settings) -> Iterator[Judged]:
    """Yield the answers of LiFT-HRA's conversations, or of LiFT-Critic's three columns."""
    clip = Footage((text(row, "video"), f"videos/{text(row, 'video')}"))
    answers = _conversation(row) if row.get("conversations") else _critic_columns(row)
    source = None if row.get("conversations") else "critic"
    speaker = row if source is None else {"annotator": LIFT_CRITIC} | row
    for caption, dimension, answer in answers:
        match = _LIFT_ANSWER.match(answer.strip())
        if not match:
            raise Unfit(f"The answer {answer[:40]!r} begins with none of Good, Normal, Bad.")
        yield point(
            caption,
            clip,
            dimension=dimension,
            grade=LIFT_GRADES[match["grade"]],
            voice=voice(speaker, settings, source=source),  # type: ignore[arg-type]
            rationale=match["reason"].strip(),
        )


def _critic_columns(row: Row) -> Iterator[tuple[str, Dimension, str]]:
    for key in LIFT_KEYS:
        yield text(row, "caption"), LIFT[key.removesuffix(" issues")], text(row, key)


def _conversation(row: Row) -> Iterator[tuple[str, Dimension, str]]:
    turns = row["conversations"]
    if not isinstance(turns, list) or len(turns) % 2 or not all(map(_is_turn, turns)):
        raise Unfit("`conversations` is not a list of questions and answers by turns.")
    for asked, answered in zip(turns[::2], turns[1::2], strict=True):
        if (asked["from"], answered["from"]) != ("human", "gpt"):
            raise Unfit("`conversations`: the turns are not by human and gpt alternately.")
        question = _LIFT_QUESTION.match(_MEDIA_TOKENS.sub("", asked["value"]))
        if not question:
            raise Unfit(f"The question {asked['value'][:40]!r} names no dimension.")
        caption = question["caption"].strip() or text(row, "caption")
        yield caption, LIFT[question["about"]], answered["value"]


def _is_turn(turn: Any) -> bool:
    return isinstance(turn, dict) and all(isinstance(turn.get(key), str) for key in TURN)


TURN = ("from", "value")
