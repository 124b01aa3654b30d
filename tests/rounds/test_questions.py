"""Questions are spread evenly over the dimensions, and compare different clips of one prompt."""

from collections import Counter

from dualipo.records import DIMENSIONS, Candidate
from dualipo.rounds.questions import pair_questions, point_questions


def candidates() -> list[Candidate]:
    clips = ["a", "b", "c", "d", "e", "e"]  # the last two clips of the second prompt are equal
    return [
        Candidate(f"c{n}", f"p{n // 3}", f"caption {n // 3}", n % 3, 0, n, clip, "base", 0)
        for n, clip in enumerate(clips)
    ]


def test_pairs_are_of_one_prompt_and_of_different_clips() -> None:
    questions = pair_questions(candidates(), num=99, seed=3)
    assert len(questions) == 3 * (3 + 2), "two candidates may share a clip"
    assert len({*questions}) == 3 * (3 + 1)
    captions = {clip: c.caption for c in candidates() for clip in [c.clip]}
    for prompt, clip_a, clip_b, _ in questions:
        assert captions[clip_a] == captions[clip_b] == prompt.caption and clip_a != clip_b


def test_every_beginning_holds_the_dimensions_alike() -> None:
    for questions in (
        pair_questions(candidates(), num=7, seed=5),
        point_questions(candidates(), num=7, seed=5),
    ):
        assert len(questions) == 7
        counts = Counter(question.dimension for question in questions)
        assert {*counts} == {*DIMENSIONS} and max(counts.values()) - min(counts.values()) <= 1


def test_a_seed_decides_the_order() -> None:
    first, again, other = (pair_questions(candidates(), num=9, seed=seed) for seed in (1, 1, 2))
    assert first == again != other
