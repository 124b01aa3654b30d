"""Seeds: pure, injective in practice, within the range that every generator takes."""

import random

from dualipo.seeds import chance, derive


def test_a_seed_depends_on_every_part_and_on_their_order() -> None:
    names = [(0, 1, "sample", "p1", 0), (0, 1, "sample", "p1", 1), (1, 0, "sample", "p1", 0)]
    names += [(0, 1, "samplep1", 0), (0, 1, "sample", "p", 10), (0, "1", "sample", "p1", 0)]
    names += [(0,), (0, 0), ("0",), ()]
    assert len({derive(*name) for name in names}) == len(names)


def test_seeds_are_the_same_in_every_process_and_in_range() -> None:
    # A frozen value: another one would silently change every run there is.
    assert derive(0, 1, "sample", "p1", 0) == 2424921017470724577
    seeds = [derive(0, index) for index in range(2000)]
    assert len(set(seeds)) == 2000 and all(0 <= seed < 2**63 for seed in seeds)
    # Uniform: the mean of 2000 draws lies within 5 standard errors of the middle.
    assert abs(sum(seeds) / 2000 / 2**63 - 0.5) < 5 / (12 * 2000) ** 0.5


def test_a_chance_comes_true_as_often_as_it_says_and_a_larger_one_wherever_a_smaller_does() -> None:
    true_at = {share: {n for n in range(2000) if chance(share, 0, n)} for share in (0, 0.1, 0.5, 1)}
    assert not true_at[0] and len(true_at[1]) == 2000
    assert abs(len(true_at[0.1]) - 200) < 4 * (2000 * 0.1 * 0.9) ** 0.5
    assert true_at[0.1] < true_at[0.5]


def test_no_shared_generator_is_touched() -> None:
    state = random.getstate()
    derive(1, "a")
    assert random.getstate() == state
