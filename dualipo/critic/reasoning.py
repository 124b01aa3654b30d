"""The grammar of a reasoning path: its renderer, its strict parser, and the caption's fence.

A pairwise answer is `A: <evidence> Grade: good|normal|bad`, the same for B on the next line, then
`<verdict>A|B|tie</verdict>`. A pointwise answer is one line of evidence, then
`<grade>good</grade>`. The label comes last, so that it follows from the reasons (METHOD.md 3.1,
3.3). Grades may be missing. Any text that is not exactly one such answer abstains (faults 27, 28,
38).
"""

import re
import unicodedata
from dataclasses import dataclass
from typing import Literal

from dualipo.config import WORLD, Questions
from dualipo.critic.vlm import Choice, Kind, Query
from dualipo.records import GRADES, Dimension, Grade, Verdict

Why = Literal["truncated", "no label", "several labels", "malformed", "contradiction"]

GRADE_CHOICE = Choice("<grade>", GRADES)
VERDICT_TAG = "<verdict>"
VERDICT_CHOICE = Choice(VERDICT_TAG, ("A", "B", "tie"))
NAMES: dict[Verdict, str] = {"a": "A", "b": "B", "tie": "tie"}

_LABELS: dict[str, Verdict] = {name: verdict for verdict, name in NAMES.items()}
_GRADES: dict[str | None, Grade] = {grade: grade for grade in GRADES}
_SWAPPED: dict[Verdict | Grade, Verdict] = {"a": "b", "b": "a", "tie": "tie", "abstain": "abstain"}
# Words and signs that a caption needs only to talk to the critic: a hint, as no list finds all who
# talk. A false alarm costs a second look. Each part looks ahead by a bounded number of characters,
# so that the time grows with the caption's length and not with its square.
_TALKS = re.compile(
    r"[<>{}|`\u2039\u203a]|&[lg]t;|###"
    r"|\b(verdicts?|grade:|video [ab]\b|(user|assistant|system)\s*:)"
    r"|\b(answer|choose|prefer|say|output|select|vote|pick)\W+(for\W+)?(video\W+)?"
    r"(a|b|tie|good|bad)\b|\b(ignor\w*|disregard|override|instructions?|judge|disqualified)\b"
    r"|\b(first|second|former|latter|left|right|other) (video|clip|candidate|one)\b"
    r"|\b[ab] (wins|is (the )?(better|best|winner|worse|worst))\b"
    r"|\b(rate|grade|score|rank)\b.{0,80}\b(good|bad|excellent|perfect|best|worst|high\w*|low\w*)\b"
    r"|\b(antworte|réponds|responde|responda|ответь|видео)\b|回答|答え|대답|أجب|उत्तर"
    r"|视频|視頻|影片|動画|ビデオ|비디오|동영상|فيديو|वीडियो",
    re.IGNORECASE,
)

_EVIDENCE = r"(?: (?P<reason_{0}>[^<>\n]+?))??(?: Grade: (?P<grade_{0}>good|normal|bad))?"
_PAIR = re.compile(
    f"A:{_EVIDENCE.format('a')}\nB:{_EVIDENCE.format('b')}\n<verdict>(?P<label>A|B|tie)</verdict>"
)
_POINT = re.compile(r"(?:(?P<reason>[^<>\n]+)\n)?<grade>(?P<label>good|normal|bad)</grade>")


@dataclass(frozen=True)
class Parsed:
    """The parsed answer of a path, about the clips as they were shown.

    `why` gives the reason of an abstention; grades are those of the two clips of a pair.
    """

    outcome: Verdict | Grade
    why: Why | None = None
    grade_a: Grade | None = None
    grade_b: Grade | None = None


def question(kind: Kind, dimension: Dimension, questions: Questions = WORLD) -> str:
    """Return a set's question about one dimension, by default the embedded world's."""
    return questions.question(kind, dimension)


def question_of(query: Query, questions: Questions) -> str:
    """Return the text of a query's question, the set's or its own."""
    return query.question or question(query.kind, query.dimension, questions)


def render_pair(
    reason_a: str,
    grade_a: Grade | None,
    reason_b: str,
    grade_b: Grade | None,
    verdict: Verdict,
) -> str:
    """Write a pairwise answer; a missing grade is left out."""
    lines = [_line("A:", reason_a, grade_a), _line("B:", reason_b, grade_b)]
    return "\n".join([*lines, f"<verdict>{NAMES[verdict]}</verdict>"])


def render_point(reason: str, grade: Grade) -> str:
    """Write a pointwise answer."""
    line = _plain(reason)
    return f"{line}\n<grade>{grade}</grade>" if line else f"<grade>{grade}</grade>"


def render_bare(kind: Kind, label: str) -> str:
    """Write an answer without evidence; `label` is spelled as the grammar spells it."""
    return f"A:\nB:\n<verdict>{label}</verdict>" if kind == "pair" else f"<grade>{label}</grade>"


def parse(text: str, kind: Kind, *, truncated: bool) -> Parsed:
    """Parse the text that a model generated; whatever breaks the grammar abstains."""
    if truncated:
        return Parsed("abstain", "truncated")
    num_labels = text.count("<verdict>" if kind == "pair" else "<grade>")
    if num_labels != 1:
        return Parsed("abstain", "several labels" if num_labels else "no label")
    match = (_PAIR if kind == "pair" else _POINT).fullmatch(text)
    if match is None:
        return Parsed("abstain", "malformed")
    if kind == "point":
        return Parsed(_GRADES[match["label"]])
    verdict = _LABELS[match["label"]]
    grade_a, grade_b = _GRADES.get(match["grade_a"]), _GRADES.get(match["grade_b"])
    if contradicts(verdict, grade_a, grade_b):
        return Parsed("abstain", "contradiction", grade_a, grade_b)
    return Parsed(verdict, None, grade_a, grade_b)


def contradicts(verdict: Verdict, grade_a: Grade | None, grade_b: Grade | None) -> bool:
    """Tell whether a verdict prefers the clip with the worse grade.

    A tie never contradicts, however far the grades are apart. No pair is kept for a tie and nothing
    is trained on it, so an abstention would change nothing and hide what the critic said.
    """
    if grade_a is None or grade_b is None:
        return False
    lead = GRADES.index(grade_b) - GRADES.index(grade_a)  # positive: A has the better grade
    return (verdict == "a" and lead < 0) or (verdict == "b" and lead > 0)


def swap(text: str) -> str:
    """Exchange A and B in a rendered pairwise answer, also where evidence says "video A"."""
    match = _PAIR.fullmatch(text)
    assert match is not None, text
    reason_a, reason_b = (
        re.sub(r"\b([Vv]ideo) ([AB])\b", lambda m: f"{m[1]} {'BA'['AB'.index(m[2])]}", reason or "")
        for reason in (match["reason_a"], match["reason_b"])
    )
    verdict = _SWAPPED[_LABELS[match["label"]]]
    grade_a, grade_b = _GRADES.get(match["grade_a"]), _GRADES.get(match["grade_b"])
    return render_pair(reason_b, grade_b, reason_a, grade_a, verdict)


def can_swap(text: str) -> bool:
    """Tell whether an answer about two clips is written in the grammar, as `swap` needs it."""
    return parse(text, "pair", truncated=False).why in (None, "contradiction")


def swap_verdict(verdict: Verdict | Grade) -> Verdict:
    """Return the verdict that means the same once the clips are exchanged."""
    return _SWAPPED[verdict]


def suspicious(caption: str) -> bool:
    """Tell whether a caption seems to talk to the critic, not describe a video (fault 38)."""
    plain = unicodedata.normalize("NFKC", caption)
    hidden = any(unicodedata.category(c) in ("Cc", "Cf", "Zl", "Zp") for c in plain)
    return hidden or _TALKS.search(plain) is not None


def fence(caption: str) -> str:
    """Write a caption between tags, as critics are shown it."""
    return f"<caption>{shown(caption)}</caption>"


def shown(caption: str) -> str:
    """Write a caption as one line that cannot close its tag, forge another or open a turn."""
    spaced = "".join(
        " " if unicodedata.category(c) in ("Cc", "Zl", "Zp") else c
        for c in unicodedata.normalize("NFKC", caption)
        if unicodedata.category(c) not in ("Cf", "Cs", "Co", "Cn")
    )
    plain = " ".join(spaced.split()).replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"\b(user|assistant|system)\s*:", r"\1,", plain, flags=re.IGNORECASE)


def _line(name: str, reason: str, grade: Grade | None) -> str:
    return " ".join(part for part in (name, _plain(reason), grade and f"Grade: {grade}") if part)


def _plain(reason: str) -> str:
    """Write evidence as one line without tags, so that it cannot forge a part of the grammar."""
    return " ".join(re.sub(r"[<>]", " ", reason).split())
