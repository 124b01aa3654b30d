"""The rules that a caption is screened by alone, without a look at the others."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from dualipo import captions
from dualipo.captions import normalise
from dualipo.prompts.languages import Languages, scripts_of
from dualipo.prompts.words import words_of

RIGHT_TO_LEFT = {"arabic", "hebrew", "syriac", "thaana", "nko"}
_ADDRESS = re.compile(
    r"://|\bwww\.|\S@\S+\.\w|\b[\w-]+\.(?:com|net|org|io|co|gov|edu|info|de|uk|fr|cn|ru|jp|tv)\b",
    re.IGNORECASE,
)
_MARKUP = re.compile(
    r"</?[a-z!][^>]*>|<\||&(?:[a-z]+|#\d+);|\]\(|```|\*\*|__\w|\{\{|\}\}|\\[a-z]+\{|^\s*#{1,6}\s",
    re.IGNORECASE,
)
# A character that every address and all markup have: few captions have to be looked at closely.
_SUSPECT = re.compile(r"[@<&\]`*_{}\\#]|:/|www|\.\w", re.IGNORECASE)
TOO_LONG = f"over {captions.MAX_CHARACTERS} characters"


@dataclass(frozen=True)
class Wanted:
    """The kind of captions that pass; `language` None takes any, `max_words` None any length.

    `scripts` are named as in `languages`; `words` are words and phrases that no caption may have.
    """

    scripts: tuple[str, ...] = ("latin",)
    language: str | None = "en"
    min_words: int = 1
    max_words: int | None = None
    words: tuple[str, ...] = ()


class Rules:
    """Says why a caption is dropped."""

    def __init__(self, wanted: Wanted) -> None:
        self.wanted = wanted
        self._scripts = set(wanted.scripts)
        self._right_to_left = bool(self._scripts & RIGHT_TO_LEFT)
        self._languages = Languages(wanted.language) if wanted.language else None
        listed = [" ".join(words_of(normalise(phrase))) for phrase in wanted.words]
        listed = sorted({phrase for phrase in listed if phrase}, key=len, reverse=True)
        pattern = "|".join(map(re.escape, listed))
        self._listed = re.compile(rf"(?<!\S)(?:{pattern})(?!\S)") if listed else None

    def reason(self, caption: str, words: Sequence[str]) -> str | None:
        """Return why the caption is dropped, or None; `words` are those of `words_of`."""
        if refusal := captions.screen(caption, right_to_left=self._right_to_left):
            return TOO_LONG if "at most" in refusal else refusal.partition(" (U+")[0]
        return self._form(caption, words) or self._content(caption, words)

    def _form(self, caption: str, words: Sequence[str]) -> str | None:
        if _SUSPECT.search(caption):
            if _ADDRESS.search(caption):
                return "an address"
            if _MARKUP.search(caption):
                return "markup"
        longest = max(words, key=len, default="")
        if len(longest) < 2 or not longest.isalpha():  # most captions need no closer look
            letters = [len(word) for word in words if not word.isdecimal()]
            if not letters:
                return "no letters"
            if max(letters) == 1 and caption.isascii():
                return "single letters"
        if len(words) < self.wanted.min_words:
            return f"under {self.wanted.min_words} words"
        if self.wanted.max_words is not None and len(words) > self.wanted.max_words:
            return f"over {self.wanted.max_words} words"
        return None

    def _content(self, caption: str, words: Sequence[str]) -> str | None:
        if foreign := scripts_of(caption) - self._scripts:
            return f"script: {min(foreign)}"
        if self._languages and (language := self._languages.other(words)):
            return f"language: {language}"
        if self._listed and self._listed.search(" ".join(words)):
            return "a word of the list"
        return None
