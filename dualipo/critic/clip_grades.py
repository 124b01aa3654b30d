"""The grades that an answer about a pair gives each clip, in lines of their own or beside evidence.

They are no verdict. But an answer that prefers the clip to which it gives the worse grade
contradicts itself. Grades in words and numbers ("8/10") are read; a clip with two has none.
"""

import re
from collections.abc import Iterable, Iterator
from typing import Literal

from dualipo.critic.leanings import NOUNS
from dualipo.records import GRADES, Grade

Clip = Literal["a", "b"]
Mark = Grade | float
Marks = dict[Clip | None, set[Mark]]  # by clip; by None the grades that are given to neither

_CLIP = rf"(?:(?:{NOUNS})[ _]?)?(?P<clip>[AB])"
_GRADE = r"good|normal|bad"
_NUMBER = r"\d{1,3}(?:\.\d+)?"
_OUT_OF = r"(?=\s*(?:/|out of))"
_RATED = r"(?:grade|rating|score)s?"
# "A: evidence. Grade: bad", "A (bad): evidence", "### Video A", "| A | bad |"
_SECTION = re.compile(
    r"(?:(?:evidence|observations?) (?:for|of|about|on|in) )?"
    rf"{_CLIP}(?:'s)?\s*(?:\([^()]*\)\s*)?(?:[:|\u2013\u2014-]\s*(?P<rest>.*))?",
    re.I,
)
_BESIDE = re.compile(rf"\b{_RATED}\W{{0,4}}(?:is |of )?\W?(?P<mark>{_GRADE}|{_NUMBER})\b", re.I)
_ALONE = re.compile(rf"\W*(?P<mark>{_GRADE}|{_NUMBER}{_OUT_OF})\W*(?:\d+)?\W*", re.I)
_IN_BRACKETS = re.compile(
    rf"\b{_CLIP} \((?:{_RATED}\W{{1,3}})?(?P<mark>{_GRADE}|{_NUMBER}{_OUT_OF})\b", re.I
)
_IS = re.compile(rf"{_CLIP} is (?P<mark>{_GRADE})\W*", re.I)
_SPEAKS_OF_GRADES = re.compile(r"\b(?:grad(?:es?|ed)|rat(?:es?|ed|ings?)|scor(?:es?|ed))\b", re.I)
_NAMES = re.compile(rf"\b(?:(?P<clip>[AB])(?!\w)|(?P<mark>{_GRADE}|{_NUMBER}{_OUT_OF})\b)", re.I)
_ROW = re.compile(rf"{_RATED} ?\| ?({_GRADE}) ?\| ?({_GRADE})", re.I)
_SCORE = re.compile(rf"\b{_RATED}\W{{1,4}}({_NUMBER})\s*(?:/|out of)\s*(\d{{1,3}})\b", re.I)


def marks(sentences: Iterable[str]) -> Marks:
    """Return all grades and numbers that the sentences give each clip."""
    given: Marks = {"a": set(), "b": set(), None: set()}
    section: Clip | None = None
    for sentence in sentences:
        opened = _SECTION.fullmatch(sentence)
        section = _clip(opened["clip"]) if opened else section
        named = [*_named(sentence)]
        for clip, mark in named:
            given[clip].add(mark)
        rest = (opened["rest"] or "") if opened else sentence
        beside = _BESIDE.search(rest) or (_ALONE.fullmatch(rest) if opened else None)
        if beside and not named and (section or beside.start() == 0):
            given[section].add(_mark(beside["mark"]))
    return given


def prefers_worse(verdict: str, given: Marks) -> bool:
    """Tell whether the preferred clip has the lower number, or a grade is given to neither clip."""
    if any(isinstance(mark, str) for mark in given[None]):
        return True
    a, b = ([mark for mark in given[clip] if isinstance(mark, float)] for clip in ("a", "b"))
    if len(a) != 1 or len(b) != 1:
        return False
    return (verdict == "a" and a < b) or (verdict == "b" and b < a)


def shares(sentences: Iterable[str]) -> list[float]:
    """Return every score as a share of the highest that it names: "8/10" is 0.8."""
    scores = (match for sentence in sentences for match in _SCORE.finditer(sentence))
    return [float(score[1]) / float(score[2]) for score in scores if float(score[2]) > 1]


def is_evidence(text: str) -> bool:
    """Tell whether a line is evidence about one clip: "A: the shapes stay whole"."""
    opened = _SECTION.fullmatch(text)
    return bool(opened and opened["rest"])


def grade(given: set[Mark]) -> Grade | None:
    """Return a clip's one grade; None for no grade, or several."""
    grades = [each for each in GRADES if each in given]
    return grades[0] if len(grades) == 1 else None


def _named(sentence: str) -> Iterator[tuple[Clip, Mark]]:
    """Yield the grades that stand in one sentence with the name of their clip."""
    if row := _ROW.search(sentence):
        yield from (("a", _mark(row[1])), ("b", _mark(row[2])))
        return
    for match in _IN_BRACKETS.finditer(sentence):
        yield _clip(match["clip"]), _mark(match["mark"])
    if whole := _IS.fullmatch(sentence):
        yield _clip(whole["clip"]), _mark(whole["mark"])
    if _SPEAKS_OF_GRADES.search(sentence) and not _SECTION.fullmatch(sentence):
        yield from _marks_in_turn(sentence)


def _marks_in_turn(sentence: str) -> Iterator[tuple[Clip, Mark]]:
    """Yield each mark with the last clip named before it: "I grade A bad and B good"."""
    clip: Clip | None = None
    for match in _NAMES.finditer(sentence):
        if match["mark"]:
            if clip:
                yield clip, _mark(match["mark"])
        elif match["clip"] != "a":  # which is the article
            clip = _clip(match["clip"])


def _clip(name: str) -> Clip:
    return "a" if name.lower() == "a" else "b"


def _mark(word: str) -> Mark:
    return next((each for each in GRADES if each == word.lower()), None) or float(word)
