"""Captions are tidied, named by what their spellings share, and screened.

Two spellings that differ in case, whitespace or compatibility characters are one prompt (fault 36).
A caption that no model should be fed is refused with the reason (fault 37).
"""

import hashlib
import unicodedata

MAX_CHARACTERS = 10_000


def tidy(caption: str) -> str:
    """Return the caption as it is stored: in NFKC, with single spaces and none at the ends."""
    return " ".join(unicodedata.normalize("NFKC", caption).split())


def normalise(caption: str) -> str:
    """Return the spelling that equal captions share: tidied, without case. It is idempotent."""
    if caption.isascii():  # what follows, in a tenth of the time
        return " ".join(caption.lower().split())
    # Folding case may leave a character that NFKC composes, and NFKC one that folds: both are
    # repeated until nothing changes.
    folded = tidy(tidy(caption).casefold())
    while (again := tidy(folded.casefold())) != folded:
        folded = again
    return folded


def prompt_id(caption: str) -> str:
    """Return the id that all spellings of a caption share, 16 hexadecimal digits."""
    return hashlib.sha256(normalise(caption).encode()).hexdigest()[:16]


def screen(caption: str, *, right_to_left: bool = False) -> str | None:
    """Return the reason why a caption cannot be used, or None if it can.

    `right_to_left` admits letters that are written so, for a generator that knows them.
    """
    if len(caption) > MAX_CHARACTERS:
        return f"{len(caption)} characters, at most {MAX_CHARACTERS} are read"
    for character in "" if caption.isascii() and caption.isprintable() else caption:
        if reason := _reason(character, right_to_left):
            return f"{reason} (U+{ord(character):04X})"
    return None if tidy(caption) else "empty"


def _reason(character: str, right_to_left: bool) -> str | None:
    category = unicodedata.category(character)
    if category == "Cf":
        return "a zero-width or direction character"
    if category == "Cs" or (category == "Cc" and character not in "\t\r\n"):
        return "a control character"
    if not right_to_left and unicodedata.bidirectional(character) in ("R", "AL"):
        return "right-to-left text, which changes the order of the words around it"
    return None
