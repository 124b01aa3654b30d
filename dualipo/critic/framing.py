"""What stands around a statement: an opening, an opinion, a reason, the respect that was asked for.

"Overall, I think that video A is better in motion" states that video A is better, where motion was
asked about. "The paws melt in B, so the verdict is A" gives a reason and a conclusion.
"""

import dataclasses
import functools
import itertools
import re
from collections.abc import Callable, Iterator, Sequence

from dualipo.critic.answer_lines import Line
from dualipo.critic.vlm import Kind
from dualipo.records import GRADES

MAX_CONCLUDED = 600  # characters of a sentence that is searched for a conclusion
MAX_PLACES = 8  # where a conclusion may begin
_GRADE = "|".join(GRADES)
_QUALITY = r"(?:quality|smoothness|realism|plausibility|coherence)"

_OPENING = re.compile(
    r"(?:(?:so|therefore|thus|hence|overall|accordingly|consequently|in conclusion|in summary|"
    r"to conclude|to sum up|to summari[sz]e|in short|finally|ultimately|clearly|as a result|"
    r"on balance|all in all|all things considered|in the end|for (?:this|these) reasons?|"
    r"(?:because of|based on|after|considering|given|between|looking at)"
    r"(?! (?:all )?(?:the )?(?:first|second|last))"
    r"(?: (?!not\b|half|only\b|if\b)[\w']+){1,8}(?=,))(?:, ?|: ?| )){1,3}",
    re.I,
)
_OPINION = re.compile(
    r"(?:I (?:think|believe|find|conclude|would say)|I'd say|in my (?:opinion|view|judge?ment)|"
    r"it is clear|it's clear)(?: that|,)? ",
    re.I,
)
_SINCE = re.compile(
    r"(?:since|because|as(?! (?:long|soon|if|though|far|well|much)\b)|given that)\b", re.I
)
_SO = re.compile(r"[,;] (?:and )?(?:so|thus|therefore|hence|which means),? (?:that )?|; ", re.I)
_COMMA = re.compile(r", ")
# "The paws melt (grade: bad)."
_TRAILING_GRADE = re.compile(
    r"(?P<why>.*?)(?:^|[,;] | (?=[(\[]))[(\[]?"
    rf"(?P<grade>(?:grade|rating): ?(?:{_GRADE}))[)\]]?[.!]?",
    re.I,
)


def unframed(sentence: str) -> str:
    """Return a sentence without the words that only open it: "Overall, I think that ..."."""
    for _ in range(2):
        for frame in (_OPENING, _OPINION):
            if match := frame.match(sentence):
                sentence = sentence[match.end() :]
    return sentence


def is_opened(sentence: str) -> bool:
    """Tell whether a sentence begins as a conclusion does: "Overall, ..."."""
    return bool(_OPENING.match(sentence))


def conclusions(sentence: str, kind: Kind) -> Iterator[tuple[str, str]]:
    """Yield a reason and what follows from it, for each place where a conclusion may begin."""
    if len(sentence) > MAX_CONCLUDED:
        return
    if kind == "point" and (graded := _TRAILING_GRADE.fullmatch(sentence)):
        yield graded["why"], graded["grade"]
    sign = _COMMA if _SINCE.match(sentence) else _SO
    for place in itertools.islice(sign.finditer(sentence), MAX_PLACES):
        yield sentence[: place.start()], sentence[place.end() :]


def without_respect(answer: Sequence[Line], dimension: str, kind: Kind) -> list[Line]:
    """Leave out "in motion", where motion was asked about: it says nothing new."""
    if not dimension:
        return [*answer]
    return [dataclasses.replace(line, text=_told(line.text, dimension, kind)) for line in answer]


def _told(text: str, dimension: str, kind: Kind) -> str:
    shorter = text
    for pattern, written in _respects(dimension, kind):
        shorter = pattern.sub(written, shorter)
    return shorter if any(c.isalnum() for c in shorter) else text


@functools.lru_cache(maxsize=64)
def _respects(
    dimension: str, kind: Kind
) -> list[tuple[re.Pattern[str], str | Callable[[re.Match[str]], str]]]:
    """Return the ways to name the respect, with what is written instead."""
    name = dimension.replace("_", "[ _-]")  # an answer may write it as its question does
    named = rf"{name}(?: {_QUALITY}(?: and (?:physical )?{_QUALITY})?)?"
    respect = (
        r"(?:in terms of|with (?:respect|regard) to|regarding|concerning|in|for) "
        rf"(?:(?:the |overall )?{named}|this (?:one )?(?:respect|regard|aspect))(?![\w-])"
    )
    first = re.compile(rf"(?:^|(?<=[.!?] )){respect}[,:]? *", re.I)
    later = re.compile(rf",? {respect}", re.I)
    if kind == "pair":
        better = re.compile(rf"\b(better|best|superior) {named}(?![\w-])", re.I)
        return [(first, ""), (later, ""), (better, r"\1")]
    graded = re.compile(
        rf"((?:^|(?<=[.!?] ))(?:[\w ]{{1,40}}[,:] )?)(?:the |overall )?{named}"
        r"(?: grade| rating| score)?"
        rf"(?: is |\s*[:=|-]\s*)(?=(?:{_GRADE})(?:[.!] |[.!]?$))",
        re.I,
    )
    thing = re.compile(rf"\bthe {named}(?= (?:as )?(?:{_GRADE})[.!]?$)", re.I)
    return [(first, ""), (later, ""), (graded, r"\1grade: "), (thing, "it")]
