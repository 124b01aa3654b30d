"""Finds near-copies among a million captions: MinHash, banded, then checked exactly.

    caption    -> the set of its words and word pairs, each a hash
    MinHash    -> 140 numbers; number k is the least value of a_k * h + b_k over the set (mod 2^32),
                  and two sets agree in it with probability J, their Jaccard similarity
    bands      -> 20 keys of 7 numbers each; two captions meet if one key is equal: probability
                  1 - (1 - J^7)^20, which is 0.99 at J = 0.8 and 0.15 at J = 0.5
    candidates -> the exact Jaccard similarity decides; the later caption of two is the copy

The hashes and keys of one caption take about 300 bytes. `datasketch` computes the same signatures
(a test compares them), caption by caption and in objects, which a million does not bear.
Where over `MAX_COMPARED` captions share a key, each is compared with the first ones only.
"""

from dataclasses import dataclass, field

import numpy as np

from dualipo.prompts.words import FlatWords, unique

THRESHOLD = 0.8
NUM_BANDS = 20
ROWS_PER_BAND = 7
MAX_COMPARED = 64
_NUM_PERMUTATIONS = NUM_BANDS * ROWS_PER_BAND
_PAIRS_AT_ONCE = 1 << 14
_MIXER = np.uint32(0x9E3779B1)


def permutations(num: int = _NUM_PERMUTATIONS, *, seed: int = 1) -> np.ndarray:
    """Return the factors (odd) and summands of `num` permutations of 32-bit numbers, [2, num]."""
    draw = np.random.default_rng(seed).integers(0, 1 << 32, size=(2, num), dtype=np.uint32)
    draw[0] |= 1
    return draw


def signatures(sets: FlatWords, factors: np.ndarray) -> np.ndarray:
    """Return the MinHash signatures of sets, uint32 [N, K]; no set may be empty."""
    starts = sets.ends - sets.lengths
    mixed = _mixed(sets.hashes)
    columns = [np.minimum.reduceat(mixed * a + b, starts) for a, b in factors.T]
    return np.stack(columns, axis=1)


def _mixed(hashes: np.ndarray) -> np.ndarray:
    """Spread similar hashes over all 32 bits (the finalizer of MurmurHash3)."""
    hashes = (hashes ^ (hashes >> np.uint32(16))) * np.uint32(0x85EBCA6B)
    hashes = (hashes ^ (hashes >> np.uint32(13))) * np.uint32(0xC2B2AE35)
    return hashes ^ (hashes >> np.uint32(16))


@dataclass
class NearCopies:
    """Collects captions batch by batch, and then says which is a near-copy of which."""

    threshold: float = THRESHOLD
    _factors: np.ndarray = field(default_factory=permutations)
    _rows: list[np.ndarray] = field(default_factory=list)
    _hashes: list[np.ndarray] = field(default_factory=list)
    _lengths: list[np.ndarray] = field(default_factory=list)
    _bands: list[np.ndarray] = field(default_factory=list)
    num_compared: int = 0

    def add(self, words: FlatWords, rows: np.ndarray) -> None:
        """Add captions with at least one word each; `rows` are their numbers, which increase."""
        if not len(rows):
            return
        sets = words.joined(words.grams(2))
        numbers = signatures(sets, self._factors).reshape(len(rows), NUM_BANDS, ROWS_PER_BAND)
        keys = numbers[:, :, 0]
        for column in range(1, ROWS_PER_BAND):
            keys = (keys ^ (keys >> np.uint32(15))) * _MIXER + numbers[:, :, column]
        self._rows.append(rows)
        self._hashes.append(sets.hashes)
        self._lengths.append(sets.lengths.astype(np.int32))
        self._bands.append(keys)

    def copies(self) -> dict[int, int]:
        """Return each near-copy's row with the row of the earlier caption that it copies."""
        if not self._rows:
            return {}
        rows = _as_one(self._rows)
        pairs = self._candidates()
        self.num_compared = len(pairs)
        alike = pairs[self._similarity(pairs) >= self.threshold]
        originals: dict[int, int] = {}
        for later, earlier in alike.tolist():  # in increasing order of the later one
            if later not in originals and earlier not in originals:
                originals[later] = earlier
        return {int(rows[later]): int(rows[earlier]) for later, earlier in originals.items()}

    def _candidates(self) -> np.ndarray:
        """Return the pairs (later, earlier) that share a band, each once and in order, [P, 2]."""
        bands = _as_one(self._bands)
        num = len(bands)
        met = []
        for band in range(NUM_BANDS):
            keys = bands[:, band]
            order = np.argsort(keys, kind="stable")
            later, earlier = _pairs_of_equal(keys[order])
            met.append(order[later] * num + order[earlier])
        pairs = unique(np.concatenate(met))
        return np.stack([pairs // num, pairs % num], axis=1)

    def _similarity(self, pairs: np.ndarray) -> np.ndarray:
        """Return the Jaccard similarity of each pair's sets."""
        hashes, lengths = _as_one(self._hashes), _as_one(self._lengths)
        starts = np.cumsum(lengths, dtype=np.int64) - lengths
        similar = [np.empty(0)]
        for begin in range(0, len(pairs), _PAIRS_AT_ONCE):
            part = pairs[begin : begin + _PAIRS_AT_ONCE]
            keys = [_keyed(hashes, starts[side], lengths[side]) for side in part.T]
            both = np.sort(np.concatenate(keys))
            shared = both[1:][both[1:] == both[:-1]] >> np.uint64(32)
            num_shared = np.bincount(shared.astype(np.int64), minlength=len(part))
            num_all = lengths[part].sum(axis=1) - num_shared
            similar.append(num_shared / num_all)
        return np.concatenate(similar)


def _as_one(parts: list[np.ndarray]) -> np.ndarray:
    """Return all parts as one array, which takes their place, so that they are held once."""
    parts[:] = [np.concatenate(parts)]
    return parts[0]


def _keyed(hashes: np.ndarray, starts: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """Return the hashes of these sets, each with its set's number in the upper 32 bits."""
    ends = np.cumsum(lengths, dtype=np.int64)
    index = np.repeat(starts - (ends - lengths), lengths) + np.arange(ends[-1])
    number = np.repeat(np.arange(len(starts), dtype=np.uint64), lengths)
    return (number << np.uint64(32)) | hashes[index]


def _pairs_of_equal(ordered: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the places (later, earlier) of equal keys in a sorted array.

    A place is paired with the `MAX_COMPARED` first ones of its key.
    """
    begins = np.concatenate([[True], ordered[1:] != ordered[:-1]])
    first = np.flatnonzero(begins)[np.cumsum(begins) - 1]
    num_before = np.minimum(np.arange(len(ordered)) - first, MAX_COMPARED)
    later = np.repeat(np.arange(len(ordered)), num_before)
    ends = np.cumsum(num_before)
    earlier = np.repeat(first - (ends - num_before), num_before) + np.arange(len(later))
    return later, earlier
