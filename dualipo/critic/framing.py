"""What stands around a statement: an opening, an opinion, a reason.

"Overall, I think that video A is better" states that video A is better. "The paws melt in B, so the
verdict is A" gives a reason and a conclusion.
"""

import itertools
import re
from collections.abc import Iterator

from dualipo.critic.vlm import Kind
from dualipo.records import GRADES

MAX_CONCLUDED = 600  # characters of a sentence that is searched for a conclusion
MAX_PLACES = 8  # where a conclusion may begin
_GRADE = "|".join(GRADES)

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
