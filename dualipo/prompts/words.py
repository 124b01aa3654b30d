"""The words of captions as numbers, to compare many captions at once.

A caption's words are those of its normalised spelling, without punctuation; a Chinese or Japanese
character is a word of its own. A word is known by a hash of 32 bits, and so is a run of n words (an
n-gram). Captions stand behind one another in one flat array; `ends` says where each one ends.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import xxhash

_WORD = re.compile(r"[^\W_]+")
_IDEOGRAPHS = r"[\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]"
_ANY_WORD = re.compile(rf"{_IDEOGRAPHS}|(?:(?!{_IDEOGRAPHS})[^\W_])+")
_MIXER = np.uint32(0x9E3779B1)


def words_of(normalised: str) -> list[str]:
    """Return the words of a caption in its normalised spelling."""
    return (_WORD if normalised.isascii() else _ANY_WORD).findall(normalised)


def word_hash(word: str) -> int:
    """Return the 32-bit hash of a word."""
    return xxhash.xxh32_intdigest(word.encode())


class Vocabulary:
    """Remembers the hash of every word that it has seen."""

    def __init__(self) -> None:
        self._hashes: dict[str, int] = {}

    def flat(self, captions: Iterable[Sequence[str]]) -> "FlatWords":
        """Return captions, given as lists of words, as one array of hashes."""
        hashes, known = [], self._hashes
        ends = []
        for words in captions:
            for word in words:
                if word not in known:
                    known[word] = word_hash(word)
                hashes.append(known[word])
            ends.append(len(hashes))
        return FlatWords(np.array(hashes, dtype=np.uint32), np.array(ends, dtype=np.int64))


@dataclass(frozen=True)
class FlatWords:
    """Hashes of the words of many captions, or of their n-grams."""

    hashes: np.ndarray  # uint32 [W]
    ends: np.ndarray  # int64 [N]

    @property
    def lengths(self) -> np.ndarray:
        """The number of words of each caption."""
        return np.diff(self.ends, prepend=0)

    @property
    def rows(self) -> np.ndarray:
        """The number of the caption that each word belongs to."""
        return np.repeat(np.arange(len(self.ends)), self.lengths)

    def grams(self, num_words: int) -> "FlatWords":
        """Return the hashes of all runs of `num_words` words; shorter captions have none."""
        if num_words == 1:
            return self
        lengths = np.maximum(self.lengths - (num_words - 1), 0)
        ends = np.cumsum(lengths)
        starts = np.repeat(self.ends - self.lengths - (ends - lengths), lengths)
        first = starts + np.arange(len(starts))
        hashes = self.hashes[first]
        for offset in range(1, num_words):
            hashes = (hashes ^ (hashes >> np.uint32(15))) * _MIXER + self.hashes[first + offset]
        return FlatWords(hashes, ends)

    def joined(self, other: "FlatWords") -> "FlatWords":
        """Return the sets of both: each caption's different hashes, in increasing order."""
        rows = np.concatenate([self.rows, other.rows]).astype(np.uint64)
        keys = unique((rows << np.uint64(32)) | np.concatenate([self.hashes, other.hashes]))
        lengths = np.bincount((keys >> np.uint64(32)).astype(np.int64), minlength=len(self.ends))
        return FlatWords(keys.astype(np.uint32), np.cumsum(lengths))


def unique(keys: np.ndarray) -> np.ndarray:
    """Return the different keys in order; sorting is ten times faster here than `numpy.unique`."""
    ordered = np.sort(keys)
    return ordered[np.concatenate([[True], ordered[1:] != ordered[:-1]])] if len(keys) else keys
