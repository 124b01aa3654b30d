"""The grades that an answer about a pair gives each clip, in lines of their own or beside evidence.

They are no verdict. But an answer that prefers the clip to which it gives the worse grade
contradicts itself. Grades in words and numbers ("8/10") are read; a clip with two has none.
"""

import re
from collections.abc import Iterable, Iterator
from typing import Literal

from dualipo.records import GRADES, Grade

Clip = Literal["a", "b"]
Mark = Grade | float
Marks = dict[Clip | None, set[Mark]]  # by clip; by None what is given to neither

_CLIP = r"(?:(?:video|clip|option|candidate)[ _]?)?(?P<clip>[AB])"
_MARK = r"(?P<mark>good|normal|bad|\d{1,3}(?:\.\d+)?(?=\s*(?:/|out of)))\b"
_RATED = r"(?:grade|rating|score)s?"
_SECTION = re.compile(
    rf"{_CLIP}(?:'s)?\s*(?:\([^()]*\)\s*)?(?:[:\u2013\u2014-]\s*(?P<rest>.*))?", re.I
)
_BESIDE = re.compile(rf"\b{_RATED}\W{{0,4}}(?:is |of )?\W?{_MARK}", re.I)
_ALONE = re.compile(rf"\W*{_MARK}\W*(?:/\s*\d+)?\W*", re.I)
_NAMED = [
    re.compile(rf"\b{_CLIP}(?:'s)? {_RATED}\W{{0,4}}(?:is )?\W?{_MARK}", re.I),
    re.compile(rf"\b{_RATED} (?:for|of) {_CLIP}\W{{1,4}}(?:is )?\W?{_MARK}", re.I),
    re.compile(rf"\b{_CLIP} \({_MARK}(?:/\d+)?\)", re.I),
    re.compile(rf"\b{_CLIP}:? \W?(?P<mark>\d{{1,3}}(?:\.\d+)?)(?=\s*(?:/|out of))", re.I),
]
_SCORE = re.compile(
    rf"\b{_RATED}\W{{1,4}}(\d{{1,3}}(?:\.\d+)?)\s*(?:/|out of)\s*(\d{{1,3}})\b", re.I
)
_ROW = re.compile(rf"{_RATED} ?\| ?(good|normal|bad) ?\| ?(good|normal|bad)", re.I)


def marks(sentences: Iterable[str]) -> Marks:
    """Return all grades and numbers that the sentences give each clip."""
    given: Marks = {"a": set(), "b": set(), None: set()}
    section: Clip | None = None
    for sentence in sentences:
        opened = _SECTION.fullmatch(sentence)
        if opened:
            section = _clip(opened["clip"])
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
    if given[None]:
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
    """Yield the grades that stand beside the name of their clip."""
    for pattern in _NAMED:
        for match in pattern.finditer(sentence):
            yield _clip(match["clip"]), _mark(match["mark"])
    if row := _ROW.search(sentence):
        yield from (("a", _mark(row[1])), ("b", _mark(row[2])))


def _clip(name: str) -> Clip:
    return "a" if name.lower() == "a" else "b"


def _mark(word: str) -> Mark:
    return next((each for each in GRADES if each == word.lower()), None) or float(word)
