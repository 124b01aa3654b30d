"""The search for near-copies against its theory, against datasketch and against all pairs."""

import random
from itertools import combinations, pairwise

import numpy as np
import pytest
from datasketch import MinHash

from dualipo.prompts.near_copies import (
    NUM_BANDS,
    ROWS_PER_BAND,
    NearCopies,
    permutations,
    signatures,
)
from dualipo.prompts.words import FlatWords, Vocabulary

WORDS = [f"w{number}" for number in range(300)]


def captions(num: int, seed: int = 0) -> list[list[str]]:
    rng = random.Random(seed)
    rows = [rng.choices(WORDS, k=rng.randint(6, 30)) for _ in range(num)]
    for caption in rng.sample(rows, num // 4):  # copies with a few other words
        copy = list(caption)
        for _ in range(rng.randint(0, 5)):
            copy[rng.randrange(len(copy))] = rng.choice(WORDS)
        rows.append(copy)
    return rows


def sets_of(words: list[list[str]]) -> list[set[tuple[str, ...]]]:
    pairs = [set(pairwise(own)) for own in words]
    return [{(word,) for word in own} | more for own, more in zip(words, pairs, strict=True)]


def search(words: list[list[str]], threshold: float = 0.8) -> NearCopies:
    near_copies = NearCopies(threshold)
    for start in range(0, len(words), 37):  # batches of any size give the same
        part = words[start : start + 37]
        near_copies.add(Vocabulary().flat(part), np.arange(start, start + len(part)))
    return near_copies


def test_sets_hold_each_word_and_each_pair_of_words_once():
    words = captions(50)
    flat = Vocabulary().flat(words)
    joined = flat.joined(flat.grams(2))
    assert joined.lengths.tolist() == [len(own) for own in sets_of(words)]
    assert flat.grams(3).lengths.tolist() == [max(len(own) - 2, 0) for own in words]


def test_a_signature_is_the_one_that_datasketch_computes():
    flat = Vocabulary().flat(captions(20))
    factors = permutations(140)
    ours = signatures(flat, factors)
    starts = flat.ends - flat.lengths
    for row, (start, end) in enumerate(zip(starts, flat.ends, strict=True)):
        theirs = MinHash(140, hashfunc=int, permutations=factors, scheme="affine32")
        theirs.update_batch(flat.hashes[start:end].tolist())
        assert np.array_equal(ours[row], theirs.hashvalues)


@pytest.mark.parametrize("similarity", [0.5, 0.8])
def test_equal_numbers_in_a_signature_estimate_the_similarity(similarity):
    rng = np.random.default_rng(0)
    num, shared = 300, round(300 * 2 * similarity / (1 + similarity))
    hashes = rng.integers(0, 1 << 32, size=2 * num - shared, dtype=np.uint32)
    both = np.concatenate([hashes[:num], hashes[-num:]])
    numbers = signatures(FlatWords(both, np.array([num, 2 * num])), permutations(4000))
    assert abs((numbers[0] == numbers[1]).mean() - similarity) < 4 * 0.5 / 4000**0.5


def test_captions_meet_as_often_as_the_bands_say():
    rng = random.Random(1)
    words = []
    for _ in range(600):  # 2 of 30 words differ: similarities around 0.75
        caption = rng.sample(WORDS, 30)
        other = [*caption[:14], "x", *caption[15:-1], "y"]
        words += [caption, other]
    sets = sets_of(words)
    similarities = [
        len(sets[n] & sets[n + 1]) / len(sets[n] | sets[n + 1]) for n in range(0, len(sets), 2)
    ]
    expected = np.mean([1 - (1 - s**ROWS_PER_BAND) ** NUM_BANDS for s in similarities])
    met = {tuple(pair) for pair in search(words)._candidates().tolist()}
    share = np.mean([(n + 1, n) in met for n in range(0, len(words), 2)])
    assert abs(share - expected) < 4 * (expected * (1 - expected) / 600) ** 0.5


def test_copies_are_those_of_all_pairs_and_the_first_stays():
    words = captions(400, seed=2)
    sets = sets_of(words)
    alike = {
        (b, a)
        for a, b in combinations(range(len(words)), 2)
        if len(sets[a] & sets[b]) / len(sets[a] | sets[b]) >= 0.8
    }
    copies = search(words).copies()
    assert set(copies.items()) <= alike and len(copies) >= 0.98 * len({b for b, _ in alike})
    assert not set(copies) & set(copies.values())


@pytest.mark.slow
def test_a_thousand_copies_of_one_caption_do_not_need_all_pairs():
    caption = [f"a{n}" for n in range(30)]
    words = [[*caption, f"b{number}"] for number in range(1000)]
    near_copies = search(words)
    assert near_copies.copies() == dict.fromkeys(range(1, 1000), 0)
    assert near_copies.num_compared < 1000 * 999 / 2 / 2
