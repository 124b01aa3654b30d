"""Prompts that begin alike are divided, and put together again."""

from dualipo.critic.models.prefixes import divide


def test_a_division_puts_every_prompt_together_again():
    prompts = [(1, 2, 3, 4), (1, 2, 5), (9, 8), (1, 2, 3, 7)]
    division = divide(prompts, ["x", "x", "y", "x"])
    assert division.prefixes == ((1, 2), (9,)) and division.firsts == (0, 2)
    for prompt, (row, place) in zip(prompts, division.places, strict=True):
        assert division.prefixes[row] + division.rests[row][place] == prompt
    slots = division.slots(2)
    assert slots[0] == [0, 1] and slots[2] == [6, 7]  # two rows of three places
