"""Counts captions: by category, by source, by their length, and those that there are twice."""

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import xxhash

from dualipo.captions import normalise
from dualipo.prompts import caption_files
from dualipo.prompts.words import unique, words_of

_SHARES = (0, 5, 25, 50, 75, 95, 100)  # percentiles of the length


@dataclass
class Counts:
    """Numbers of captions; `words` holds percentiles of their length in words."""

    num: int = 0
    num_different: int = 0
    categories: dict[str, int] = field(default_factory=dict)
    sources: dict[str, int] = field(default_factory=dict)
    words: dict[str, int] = field(default_factory=dict)

    @property
    def num_repeats(self) -> int:
        """The number of captions that an earlier one equals after normalisation."""
        return self.num - self.num_different

    def text(self) -> str:
        """Return the counts as lines."""
        lines = [f"{self.num:,} captions, {self.num_repeats:,} of them repeats"]
        for title, numbers in (("category", self.categories), ("source", self.sources)):
            for name, num in sorted(numbers.items(), key=lambda item: (-item[1], item[0])):
                share = 100 * num / self.num
                lines.append(f"  {title} {name or '(none)'}: {num:,} ({share:.1f} %)")
        if self.words:
            spans = ", ".join(f"{share} {num}" for share, num in self.words.items())
            lines.append(f"  words: {spans}")
        return "\n".join(lines)


def count(path: Path) -> Counts:
    """Count the captions of a file or folder."""
    categories: Counter[str] = Counter()
    sources: Counter[str] = Counter()
    lengths: Counter[int] = Counter()
    keys = []
    for batch in caption_files.batches(path):
        categories.update(batch["category"].to_pylist())
        sources.update(batch["source"].to_pylist())
        texts = [normalise(caption) for caption in batch["caption"].to_pylist()]
        lengths.update(len(words_of(text)) for text in texts)
        hashes = [xxhash.xxh3_64_intdigest(text.encode()) for text in texts]
        keys.append(np.array(hashes, dtype=np.uint64))
    num_different = len(unique(np.concatenate(keys))) if keys else 0
    num = sum(lengths.values())
    return Counts(num, num_different, dict(categories), dict(sources), _percentiles(lengths))


def _percentiles(lengths: Counter[int]) -> dict[str, int]:
    if not lengths:
        return {}
    values = np.array(sorted(lengths))
    ends = np.cumsum([lengths[value] for value in values.tolist()])
    names = {0: "least", 50: "median", 100: "most"}
    places = [int(np.searchsorted(ends, share / 100 * ends[-1])) for share in _SHARES]
    return {
        names.get(share, f"{share} %"): int(values[min(place, len(values) - 1)])
        for share, place in zip(_SHARES, places, strict=True)
    }
