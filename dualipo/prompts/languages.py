"""Tells in which script a caption is written, and whether its language is the wanted one.

A script is the first word of a letter's Unicode name: latin, cyrillic, cjk, arabic. Languages that
share the Latin script are told apart by their frequent small words (`languages.toml`): a caption is
in another language if at least `MIN_WORDS` of that one's words are in it, and more of them than of
the wanted one's. A caption without such words passes, so names and lists of things are kept.
"""

import functools
import unicodedata
from collections.abc import Collection, Sequence
from pathlib import Path

from dualipo import text_files
from dualipo.errors import ConfigError

MIN_WORDS = 2
_LISTS = Path(__file__).parent / "languages.toml"


def scripts_of(caption: str) -> set[str]:
    """Return the scripts of a caption's letters."""
    if caption.isascii():
        return {"latin"} if any(map(str.isalpha, caption)) else set()
    return {_script(character) for character in set(caption) if character.isalpha()}


@functools.lru_cache(maxsize=65536)
def _script(letter: str) -> str:
    name = unicodedata.name(letter, "unknown")
    return name.split("-")[0].split()[0].lower()


class Languages:
    """Tells captions in the wanted language from others in the same script."""

    def __init__(self, wanted: str) -> None:
        lists = known()
        if wanted not in lists:
            raise ConfigError(f"language {wanted!r}: not known. Known are {', '.join(lists)}.")
        self._wanted = lists[wanted]
        self._others = {name: words - self._wanted for name, words in lists.items()}
        del self._others[wanted]
        self._languages: dict[str, tuple[str, ...]] = {}
        for name, words in self._others.items():
            for word in words:
                self._languages[word] = (*self._languages.get(word, ()), name)

    def other(self, words: Sequence[str]) -> str | None:
        """Return the language that a caption is in, given its words, if not the wanted one."""
        foreign = [word for word in set(words) if word in self._languages]
        if len(foreign) < MIN_WORDS:
            return None
        numbers: dict[str, int] = {}
        for word in foreign:
            for name in self._languages[word]:
                numbers[name] = numbers.get(name, 0) + 1
        name, number = max(numbers.items(), key=lambda item: item[1])
        is_other = number >= MIN_WORDS and number > _num_in(words, self._wanted)
        return name if is_other else None


def _num_in(words: Sequence[str], listed: Collection[str]) -> int:
    return len(set(words) & set(listed))


@functools.cache
def known() -> dict[str, frozenset[str]]:
    """Return the small words of each language."""
    lists = text_files.read_toml(_LISTS)
    return {name: frozenset(words.split()) for name, words in lists.items()}
