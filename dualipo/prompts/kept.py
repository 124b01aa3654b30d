"""Tells whether a longer caption still says what the short one said, by the stems of its words.

An element is kept if at least half of its content words are in the longer caption, compared by
stem: "riding a bicycle" is kept in "rides his bicycle". Irregular forms ("sat" for "sitting") are
not recognised, so an expansion may be refused that was good; none is taken that lost an element.
"""

from collections.abc import Iterator

from dualipo import text_files
from dualipo.captions import normalise
from dualipo.prompts.languages import known
from dualipo.prompts.words import words_of

_SMALL = known()["en"] | {"a", "out", "up", "down", "off", "two"}


def lost(caption: str, elements: str, longer: str) -> list[str]:
    """Return the elements that the longer caption lost; `elements` is JSON, or "" for none known.

    Where no elements are known, the caption as a whole counts as one.
    """
    stems = set(_stems(longer))
    return [part for part in _parts(elements) or [caption] if not _is_kept(part, stems)]


def _parts(elements: str) -> list[str]:
    """Return the elements; none where the column is another program's and holds no such object."""
    try:
        named = text_files.json_value(elements)
    except text_files.Unreadable:
        return []
    parts = list(named.values()) if isinstance(named, dict) else []
    return parts if all(isinstance(part, str) for part in parts) else []


def _is_kept(part: str, stems: set[str]) -> bool:
    own = set(_stems(part))
    return 2 * len(own & stems) >= len(own)


def _stems(text: str) -> Iterator[str]:
    for word in words_of(normalise(text)):
        if word not in _SMALL:
            yield stem(word)


def stem(word: str) -> str:
    """Return what the forms of a regular English word share: "danc" of dance, dances, dancing."""
    if word.endswith("ies") and len(word) > 4:
        word = word[:-3] + "y"
    elif word.endswith("es") and len(word) > 4:
        word = word[:-2]
    elif word.endswith("s") and not word.endswith("ss") and len(word) > 3:
        word = word[:-1]
    if word.endswith("ing") and len(word) > 5:
        word = word[:-3]
    elif word.endswith("ed") and len(word) > 4:
        word = word[:-2]
    if len(word) > 3 and word[-1] == word[-2] and word[-1] not in "ls":
        word = word[:-1]
    word = word[:-1] if word.endswith("e") and len(word) > 2 else word
    return word[:-1] + "i" if word.endswith("y") and len(word) > 2 else word
