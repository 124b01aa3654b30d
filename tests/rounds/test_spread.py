"""Whole runs by workers: what they make is what one process makes, whoever is killed."""

import pytest

from tests.rounds import harness as harnesses
from tests.rounds.harness import Harness

pytestmark = pytest.mark.slow

PROCESSES = ("workers.engine=processes", "workers.num_workers=2")


def test_two_processes_make_what_one_makes(harness: Harness) -> None:
    with harnesses.elsewhere(harness) as path:
        assert harnesses.ended(harness.recipe(path, *PROCESSES)) == 0, harnesses.log(path)
        assert harnesses.state(path) == harness.clean
