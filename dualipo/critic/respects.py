"""The respect that was asked about, which says nothing new, and the set's others, which do.

Where motion was asked about, "in motion, B is better" is read as "B is better". But a model may
answer about another dimension of the set: "in motion quality, B is better", "As for consistency, B
is better", or under the heading "Consistency". A sign before such a sentence keeps it from being
read as a verdict. A reason may name any dimension: "B is better, because its motion is smooth".
"""

import dataclasses
import functools
import re
from collections.abc import Iterator, Sequence

from dualipo.critic.answer_lines import Line
from dualipo.critic.own_words import BLANK
from dualipo.critic.vlm import Kind
from dualipo.records import GRADES

_GRADE = "|".join(GRADES)
_QUALITIES = ("quality", "smoothness", "realism", "plausibility", "coherence")
_PIECES = re.compile(r"[,:;()\[\]]|\s[|\u2013\u2014-]\s")
# What stands beside a dimension's name in a heading, or in words that only name a respect.
_BESIDE = re.compile(
    r"(?:[\W\d]|\b(?:overall|so|the|its|their|only|just|both|alone|as|in|for|of|on|to|by|with|and|"
    r"terms|respect|regards?|regarding|concerning|considering|given|based|looking|judg(?:ed|ing)|"
    r"at|it|comes|when|videos?|clips?|two|comparison|analysis|evaluation|assessment|grade|rating|"
    r"score|verdict|answer|winner)\b)*",
    re.I,
)
# "As for the consistency of the legs, B is better."
_LEAD = re.compile(
    r"(?:\w+, )?(?:as (?:for|to|regards)|in terms of|with (?:respect|regard) to|regarding|"
    r"concerning|considering|based on|looking at|when it comes to|judg(?:ed|ing) (?:by|on))\b"
    r"(?P<named>[^,:]*)[,:]",
    re.I,
)
_THIS = re.compile(
    r"\b(?:this|that) (?:one )?(?:respect|regard|aspect|dimension|criterion)\b", re.I
)
Ways = tuple[tuple[re.Pattern[str], str], ...]


def in_respect(
    answer: Sequence[Line], dimension: str, kind: Kind, *, others: tuple[str, ...] = ()
) -> list[Line]:
    """Leave out "in motion", where motion was asked about; mark what is said of the others."""
    if not dimension:
        return [*answer]
    marked = _marked(answer, dimension, others) if others else [line.text for line in answer]
    told = [_told(text, _ways(dimension, kind, others)) for text in marked]
    return [dataclasses.replace(line, text=text) for line, text in zip(answer, told, strict=True)]


def _marked(answer: Sequence[Line], dimension: str, others: tuple[str, ...]) -> Iterator[str]:
    """Yield the lines' texts with a sign before each sentence that judges another dimension."""
    is_headed = is_of_another = False
    for line in answer:
        sentences = []
        for sentence in line.sentences:
            is_same = is_of_another and _THIS.search(sentence)
            is_of_another = bool(is_same) or _judges_another(sentence, dimension, others)
            sentences.append(BLANK + sentence if is_headed or is_of_another else sentence)
            is_headed = False
        yield " ".join(sentences)
        is_headed = _only_names_another(line.text, dimension, others)


def _judges_another(sentence: str, dimension: str, others: tuple[str, ...]) -> bool:
    """Tell whether a sentence says that it judges another dimension: "In consistency, ..."."""
    lead = _LEAD.match(sentence)
    is_led = lead and _names_another(lead["named"], dimension, others)
    pieces = _PIECES.split(sentence)
    return bool(is_led or any(_only_names_another(piece, dimension, others) for piece in pieces))


def _only_names_another(text: str, dimension: str, others: tuple[str, ...]) -> bool:
    """Tell whether a text names another dimension and says no more, as a heading does."""
    rest = _places(dimension, others).sub("", text)
    return _names_another(text, dimension, others) and bool(_BESIDE.fullmatch(rest))


def _names_another(text: str, dimension: str, others: tuple[str, ...]) -> bool:
    """Tell whether a text names other dimensions, and not the one that was asked about."""
    places = [*_places(dimension, others).finditer(text)]
    return bool(places) and not any(place["asked"] for place in places)


@functools.lru_cache(maxsize=64)
def _places(dimension: str, others: tuple[str, ...]) -> re.Pattern[str]:
    """Return what finds the names of dimensions; of two that begin alike the longer one counts."""
    names = sorted((dimension, *others), key=len, reverse=True)
    written = {name: rf"{_spelled(name)}{_suffix(others)}" for name in names}
    written[dimension] = rf"(?P<asked>{written[dimension]})"
    return re.compile(rf"(?<![\w-])(?:{'|'.join(written.values())})(?![\w-])", re.I)


def _spelled(name: str) -> str:
    """Return a name as an answer may write it: as its question does, or in words."""
    return name.replace("_", "[ _-]")


def _suffix(others: tuple[str, ...]) -> str:
    """Return what may follow a dimension's name: "motion quality", where that is no dimension."""
    quality = rf"(?:{'|'.join(word for word in _QUALITIES if word not in others) or '(?!)'})"
    return rf"(?: {quality}(?: and (?:physical )?{quality})?)?"


def _told(text: str, ways: Ways) -> str:
    shorter = text
    for pattern, written in ways:
        shorter = pattern.sub(written, shorter)
    return shorter if any(c.isalnum() for c in shorter) else text


@functools.lru_cache(maxsize=64)
def _ways(dimension: str, kind: Kind, others: tuple[str, ...]) -> Ways:
    """Return the ways to name the respect, with what is written instead."""
    longer = (name for name in others if name.startswith(dimension))
    not_longer = "".join(rf"(?!{_spelled(name)}(?![\w-]))" for name in longer)
    named = rf"{not_longer}{_spelled(dimension)}{_suffix(others)}"
    respect = (
        r"(?:in terms of|with (?:respect|regard) to|regarding|concerning|in|for) "
        rf"(?:(?:the |overall )?{named}|this (?:one )?(?:respect|regard|aspect))(?![\w-])"
    )
    first = re.compile(rf"(?:^|(?<=[.!?] )){respect}[,:]? *", re.I)
    later = re.compile(rf",? {respect}", re.I)
    if kind == "pair":
        better = re.compile(rf"\b(better|best|superior) {named}(?![\w-])", re.I)
        return ((first, ""), (later, ""), (better, r"\1"))
    graded = re.compile(
        rf"((?:^|(?<=[.!?] ))(?:[\w ]{{1,40}}[,:] )?)(?:the |overall )?{named}"
        r"(?: grade| rating| score)?"
        rf"(?: is |\s*[:=|-]\s*)(?=(?:{_GRADE})(?:[.!] |[.!]?$))",
        re.I,
    )
    thing = re.compile(rf"\bthe {named}(?= (?:as )?(?:{_GRADE})[.!]?$)", re.I)
    return ((first, ""), (later, ""), (graded, r"\1grade: "), (thing, "it"))
