"""Reads LiFT-HRA's conversations about one clip, and what LiFT-Critic writes.

LiFT's training set is two files of one layout. In LiFT-HRA people answered. The file of real clips
(VIDGEN) has a thousand rows with one and the same answer, "Good. There are no obvious problems.":
nobody wrote it about the clip, so those labels get the source `simulated`. Such a file is told by
its name, or by its answers: at least 20 rows, all with one text.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from dualipo.preferences.importers.row import (
    Footage,
    Judged,
    Row,
    Settings,
    Unfit,
    point,
    text,
    voice,
)
from dualipo.records import Dimension, Grade
from dualipo.store import row_files

GRADES: dict[str, Grade] = {"Good": "good", "Normal": "normal", "Bad": "bad"}
KEYS: dict[str, Dimension] = {
    "semantic consistency": "consistency",
    "fidelity issues": "faithfulness",
    "motion issues": "motion",
}
CRITIC, REAL_CLIPS = "LiFT-Critic", "LiFT's real clips"
MIN_REAL_ROWS = 20
TURN = ("from", "value")

# The words by which a question's sentence names its dimension.
_WORDS: dict[Dimension, re.Pattern[str]] = {
    "consistency": re.compile(r"\bsemantic|\balign(?:ment|ed)\b", re.I),
    "faithfulness": re.compile(r"\bfidelity\b|\brealis(?:m|tic)\b", re.I),
    "motion": re.compile(r"\bmotions?\b|\bmovements?\b", re.I),
}
# A question follows the caption; its first sentence asks, and the later ones explain.
_QUESTION = re.compile(
    r"\b(?:Please|(?:Identify|Evaluate|Assess|Analy[sz]e|Judge|Examine|Point out)\b)[^.?!]*", re.S
)
_ANSWER = re.compile(r"^(?P<grade>Good|Normal|Bad)\b[\s.:,;]*(?P<reason>.*)$", re.S)
_MEDIA_TOKENS = re.compile(r"(?:\s*<(?:video|image|im_start|im_end|vila/video)>)+\s*")


def rows(path: Path) -> row_files.Lines:
    """Yield the rows, those of real clips with the source `simulated`."""
    mark = {"source": "simulated", "annotator": REAL_CLIPS} if _is_of_real_clips(path) else {}
    for line, row in row_files.rows(path):
        yield line, row if isinstance(row, Unfit) else mark | row


def _is_of_real_clips(path: Path) -> bool:
    if "vidgen" in f"{path.parent.name}/{path.name}".lower():
        return True
    num_rows = 0
    answers: set[str] = set()
    for _, row in row_files.rows(path):
        turns = row.get("conversations") if isinstance(row, dict) else None
        if isinstance(turns, list):
            num_rows += 1
            answers.update(turn["value"] for turn in turns[1::2] if _is_turn(turn))
        if len(answers) > 1:
            return False
    return num_rows >= MIN_REAL_ROWS and len(answers) == 1


def judge(row: Row, settings: Settings) -> Iterator[Judged]:
    """Yield the answers of LiFT-HRA's conversations, or of LiFT-Critic's three columns."""
    clip = Footage((text(row, "video"), f"videos/{text(row, 'video')}"))
    answers = _conversation(row) if row.get("conversations") else _critic_columns(row)
    source = None if row.get("conversations") else "critic"
    speaker = row if source is None else {"annotator": CRITIC} | row
    for caption, dimension, answer in answers:
        match = _ANSWER.match(answer.strip())
        if not match:
            raise Unfit(f"The answer {answer[:40]!r} begins with none of Good, Normal, Bad.")
        yield point(
            caption,
            clip,
            dimension=dimension,
            grade=GRADES[match["grade"]],
            voice=voice(speaker, settings, source=source),  # type: ignore[arg-type]
            rationale=match["reason"].strip(),
        )


def _critic_columns(row: Row) -> Iterator[tuple[str, Dimension, str]]:
    for key, dimension in KEYS.items():
        yield text(row, "caption"), dimension, text(row, key)


def _conversation(row: Row) -> Iterator[tuple[str, Dimension, str]]:
    turns = row["conversations"]
    if not isinstance(turns, list) or len(turns) % 2 or not all(map(_is_turn, turns)):
        raise Unfit("`conversations` is not a list of questions and answers by turns.")
    for asked, answered in zip(turns[::2], turns[1::2], strict=True):
        if (asked["from"], answered["from"]) != ("human", "gpt"):
            raise Unfit("`conversations`: the turns are not by human and gpt alternately.")
        caption, dimension = _question(_MEDIA_TOKENS.sub("", asked["value"]))
        yield caption or text(row, "caption"), dimension, answered["value"]


def _question(asked: str) -> tuple[str, Dimension]:
    """Split a turn into the caption and the dimension that the question after it names."""
    for match in _QUESTION.finditer(asked):
        named = [dimension for dimension, words in _WORDS.items() if words.search(match[0])]
        if len(named) > 1:
            raise Unfit(f"The question {match[0][:60]!r} names {' and '.join(named)}.")
        if named:
            return asked[: match.start()].strip(), named[0]
    raise Unfit(f"The question {asked[-40:]!r} names no dimension.")


def _is_turn(turn: Any) -> bool:
    return isinstance(turn, dict) and all(isinstance(turn.get(key), str) for key in TURN)
