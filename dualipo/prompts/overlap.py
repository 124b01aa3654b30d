"""Finds captions that overlap with evaluation prompts, which nothing may be trained on.

A caption overlaps with a prompt if both are equal after normalisation, if it contains the whole
prompt (of at least `MIN_CONTAINED` words: shorter ones, as "a person", are in every other caption),
or if the Jaccard similarity of their word 3-grams is at least `THRESHOLD`. Evaluation prompts are
too short for the 13-grams by which language models are checked: VBench's have 8 words on average.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

from dualipo.captions import normalise
from dualipo.prompts.words import FlatWords, Vocabulary, words_of

THRESHOLD = 0.5
MIN_CONTAINED = 5
GRAM = 3


@dataclass(frozen=True)
class Overlap:
    """The prompt that a caption overlaps with, and how."""

    prompt: str
    how: str


@dataclass
class EvaluationPrompts:
    """Prompts to compare captions with."""

    threshold: float = THRESHOLD
    min_contained: int = MIN_CONTAINED
    _words: dict[str, list[str]] = field(default_factory=dict)  # by normalised words
    _prompts: dict[str, str] = field(default_factory=dict)
    _grams: dict[str, set[int]] = field(default_factory=dict)
    _by_gram: dict[int, list[str]] = field(default_factory=lambda: defaultdict(list))

    def add(self, prompts: Iterable[str]) -> None:
        """Add prompts; those that are equal after normalisation count once."""
        for prompt in prompts:
            words = words_of(normalise(prompt))
            key = " ".join(words)
            if words and key not in self._words:
                self._words[key], self._prompts[key] = words, prompt
                grams = Vocabulary().flat([words]).grams(GRAM)
                self._grams[key] = set(grams.hashes.tolist())
                for gram in self._grams[key]:
                    self._by_gram[gram].append(key)

    def __len__(self) -> int:
        return len(self._words)

    def overlaps(self, captions: Sequence[Sequence[str]], flat: FlatWords) -> dict[int, Overlap]:
        """Return the overlap of each caption that has one, by its place; `flat` holds the same."""
        grams = flat.grams(GRAM)
        known = np.array(list(self._by_gram), dtype=np.uint32)
        places = set(grams.rows[np.isin(grams.hashes, known)].tolist())
        places |= set(np.flatnonzero(flat.lengths < GRAM).tolist())
        starts = grams.ends - grams.lengths
        overlaps = {}
        for place in sorted(places):
            own = set(grams.hashes[starts[place] : grams.ends[place]].tolist())
            if overlap := self._overlap(captions[place], own):
                overlaps[place] = overlap
        return overlaps

    def _overlap(self, words: Sequence[str], own: set[int]) -> Overlap | None:
        text = " ".join(words)
        if text in self._words:
            return Overlap(self._prompts[text], "equal")
        shared = Counter(key for gram in own for key in self._by_gram.get(gram, ()))
        for key, num_shared in sorted(shared.items()):
            num_words = len(self._words[key])
            if num_words >= self.min_contained and f" {key} " in f" {text} ":
                return Overlap(self._prompts[key], "contains it")
            num_grams = len(own) + len(self._grams[key]) - num_shared
            if num_shared >= self.threshold * num_grams:
                return Overlap(self._prompts[key], "alike")
        return None
