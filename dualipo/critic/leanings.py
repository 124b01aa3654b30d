"""Find the clip that evidence or a reason prefers: "B keeps its legs better than A".

A preference is no verdict. But one that speaks for another clip than the verdict takes it back.
"""

import itertools
import re
from collections.abc import Iterator
from typing import Literal

from dualipo.critic.vlm import Kind
from dualipo.records import GRADES, Grade, Verdict

Label = Verdict | Grade
Claim = Label | Literal["open"]
OPEN: Literal["open"] = "open"

NOUNS = "video|clip|option|candidate|choice"  # of a clip, before its letter
_ANNOUNCES = re.compile(
    r"\b(?:let|compare|comparing|will|look at|analy[sz]e|here|options?|choices?|choose)\b", re.I
)
_SPOKEN = re.compile(r"[A-Za-z]+(?:'[A-Za-z]+)?|[.;]")
_PREFERS = {
    *("deserves", "better", "best", "wins", "win", "winner", "superior", "preferable", "preferred"),
    *("outperforms", "surpasses", "beats"),
}
DEMOTES = {"worse", "worst", "inferior", "loses", "weaker"}
_CHOOSES = {"prefer", "choose", "chose", "pick", "select", "favor", "favour"}
_NEGATES = {"not", "never", "neither", "nor", "isn't", "wasn't", "doesn't", "don't", "no"}
_VERBS = {
    *("is", "was", "has", "wins", "does", "looks", "moves", "keeps", "shows", "performs"),
    *("would", "should", "could", "and", "or", "with", "than"),
}
# "In motion, B is.", "It could be B.", "EDIT: B"
_LEFT_OUT = re.compile(
    r"\b(?P<end>[AB]) (?:is|does|has it|it is)\W*$|^(?:[Vv]ideo )?(?P<first>[AB]),"
    r"|\b(?:be|it's|it is|meant?) (?:[Vv]ideo )?(?P<named>[AB])\b(?! [a-z])"
)


def clips_of(text: str) -> set[Claim]:
    """Return the clips of which a text speaks; one that only announces reasons speaks of none."""
    if announces(text):
        return set()
    return {clip for _, _, clip in words_of(text) if clip}


def announces(text: str) -> bool:
    """Tell whether a text only announces reasons: "Let me compare the two"."""
    return bool(_ANNOUNCES.search(text))


def leans(sentence: str, kind: Kind) -> set[Claim]:
    """Return the clips that a sentence prefers; OPEN for a preference that is denied."""
    if kind == "point":
        return set()
    preferred = {*_leanings(sentence)}
    if left_out := _LEFT_OUT.search(sentence):
        preferred.add(label_of(left_out["end"] or left_out["first"] or left_out["named"]))
    return preferred


def _leanings(sentence: str) -> Iterator[Claim]:
    """Yield the clip that each word of preference belongs to: mostly the last one before it."""
    last: Claim | None = None
    is_denied = awaits = False
    for word, before, named in words_of(sentence):
        if word in (".", ";"):
            last, is_denied, awaits = None, False, False
        elif named and awaits:
            awaits = False
            if before not in ("than", "over"):
                yield OPEN if is_denied else named
        elif named and before not in ("than", "over"):
            last, is_denied = named, is_denied and last is None
        elif word in _NEGATES:
            is_denied = True
        elif word in _CHOOSES or (word in _PREFERS and last is None):
            awaits = True
        elif last and (word in _PREFERS or word in DEMOTES):
            yield OPEN if is_denied else last if word in _PREFERS else _other(last)


def words_of(text: str) -> Iterator[tuple[str, str, Claim | None]]:
    """Yield each word in small letters, the word before it, and the clip that it names.

    In "than the video A" the word before the clip is "than".
    """
    words = [match[0] for match in _SPOKEN.finditer(text)]
    before = link = ""
    for word, after in itertools.zip_longest(words, words[1:], fillvalue=""):
        yield word.lower(), link, _clip(word, before=before, after=after)
        before = word.lower()
        link = link if before in ("the", *NOUNS.split("|")) else before


def _clip(word: str, *, before: str, after: str) -> Claim | None:
    """Return the clip that a word names; the article "A" names none."""
    name = word.removesuffix("'s")
    if name == "A" and before in ("", ".", ";") and after.islower() and after not in _VERBS:
        return None
    if name in ("A", "B"):
        return label_of(name)
    if name.lower() in ("first", "second") and after in ("video", "clip", "one", "candidate"):
        return "a" if name.lower() == "first" else "b"
    is_other = name.lower() in ("former", "latter") or (name.lower() == "other" and after != "hand")
    return OPEN if is_other else None


def _other(label: Claim) -> Claim:
    return {"a": "b", "b": "a"}.get(label, OPEN)  # type: ignore[return-value]


def label_of(word: str) -> Label:
    """Return the label that a word of an answer means; any other word means a tie."""
    word = word.lower().removeprefix("a ")
    labels: dict[str, Label] = {"a": "a", "b": "b", **{grade: grade for grade in GRADES}}
    return labels.get(word, "tie")
