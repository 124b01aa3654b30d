"""A stage command ends with what its stage came to, and names the command that follows."""

from collections.abc import Callable
from pathlib import Path

import pytest

from dualipo.evaluation import stage_outcome
from dualipo.stages import Command

RunMaker = Callable[..., Path]


@pytest.mark.parametrize(
    ("command", "fact", "following"),
    [
        ("sample", "384 clips, 5 unusable ones sampled anew, 0 prompts dropped.", "judge"),
        ("judge", "0 grades and 0 votes, 0 of them unreadable.", "prefer"),
        ("prefer", "28 of 48 prompts kept; dropped: ", "align"),
        ("align", "generator g1 after 40 steps, implicit accuracy 67.1 %.", "evaluate"),
        ("evaluate", "win rate 64.6 % against the version before; reasons to", "sample"),
        ("refresh", "refreshed; critic critic-1 serves.", "judge"),
    ],
)
def test_a_stage_says_what_it_came_to(
    make_run: RunMaker, command: Command, fact: str, following: str
) -> None:
    path = make_run(num_rounds=2)
    line = stage_outcome.text(path, command, 1)
    assert line.startswith(f"{path}: round 1, {command}: {fact}")
    assert line.endswith(f" Next: dualipo {following} {path}") and "\n" not in line
