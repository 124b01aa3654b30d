"""Overlap with evaluation prompts: equal, contained whole, or alike in word 3-grams."""

import pytest

from dualipo.captions import normalise
from dualipo.prompts.overlap import EvaluationPrompts
from dualipo.prompts.words import Vocabulary, words_of

PROMPTS = (
    "a person",
    "A cat",
    "A person is riding a bike",
    "a panda drinking coffee in a cafe in Paris, watercolor painting",
)


def overlap(caption: str) -> tuple[str, str] | None:
    prompts = EvaluationPrompts()
    prompts.add(PROMPTS)
    words = words_of(normalise(caption))
    overlap_ = prompts.overlaps([["x"], words], Vocabulary().flat([["x"], words])).get(1)
    return (overlap_.how, overlap_.prompt) if overlap_ else None


@pytest.mark.parametrize(
    ("caption", "expected"),
    [
        ("A PERSON.", ("equal", PROMPTS[0])),
        ("a cat", ("equal", PROMPTS[1])),
        ("At dawn a person is riding a bike, tracking shot", ("contains it", PROMPTS[2])),
        # 9 of its 3-grams are the prompt's 9 of 9, and 1 is not: 0.9
        (PROMPTS[3] + " style", ("contains it", PROMPTS[3])),
        # 7 shared, 2 + 2 others: 0.64
        (PROMPTS[3].replace("watercolor painting", "oil painting"), ("alike", PROMPTS[3])),
        # 3 shared, 6 + 7 others: 0.19
        ("a panda drinking coffee in bed with a good book and a candle", None),
        # a short prompt is in many captions
        ("a person walks a cat along the river at dusk", None),
        # 3 shared, 1 + 1 others: 0.6; 2 shared, 2 + 2 others: 0.33
        ("a person is riding a horse", ("alike", PROMPTS[2])),
        ("a person is riding the horse", None),
    ],
)
def test_overlap_is_told_with_its_prompt(caption, expected):
    assert overlap(caption) == expected


def test_the_threshold_is_the_jaccard_similarity_of_3_grams():
    prompt = "one two three four five six seven eight"  # 6 3-grams
    for num_others, alike in ((1, True), (3, True), (4, True), (5, False), (6, False)):
        # shares 5 3-grams; one is the prompt's alone, num_others are the caption's alone
        caption = [*prompt.split()[:-1], *(f"x{n}" for n in range(num_others))]
        prompts = EvaluationPrompts(threshold=5 / 10)
        prompts.add([prompt])
        flat = Vocabulary().flat([caption])
        assert bool(prompts.overlaps([caption], flat)) is alike, num_others
