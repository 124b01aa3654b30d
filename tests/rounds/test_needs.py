"""Recipes for real models fit the card that they are written for, and say what they need."""

import pytest

from benchmarks import recipe_needs
from benchmarks.recipe_needs import CARDS, RECIPES

SPARE = 0.15  # of a card's memory, for the allocator's slack and what no estimate counts


@pytest.mark.slow
@pytest.mark.parametrize("name", ["24gb", "80gb", "8x80gb"])
def test_a_recipe_fits_its_card_and_says_so_on_its_first_line(name: str) -> None:
    needed = recipe_needs.needs_of(name)
    assert {"sampling", "aligning", "the critic judging", "the critic's refresh"} <= set(
        needed.memory
    )
    assert needed.memory[needed.largest] <= (1 - SPARE) * CARDS[name].num_bytes, needed.memory
    first, *_ = (RECIPES / f"{name}.toml").read_text().splitlines()
    assert first == recipe_needs.first_line(name, needed)


def test_the_paper_sizes_say_first_what_they_need() -> None:
    for name in CARDS:
        first, *_ = (RECIPES / f"{name}.toml").read_text().splitlines()
        assert first.startswith("# Needs ") and "hours of an" in first
