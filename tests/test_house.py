"""The counter of readability, on modules whose faults are known, and on itself."""

from pathlib import Path

import pytest

from tests import house
from tests.house import LIMITS, ROOT

FAULTY = '''
"""Of what is here."""

import os as stuff


class Clip:
    """What it is called."""

    @property
    def name(self):
        """The name of the clip."""


def found(made, caption):
    """The caption, cut."""
    for one in caption:
        these = [_ for _ in one]


def longest():
    """Return nothing, in many lines."""
{body}
'''


@pytest.fixture
def counts(tmp_path: Path) -> house.Counts:
    path = tmp_path / "faulty.py"
    body = "\n".join(f"    line_{number} = {number}" for number in range(44))
    path.write_text(FAULTY.strip().format(body=body))
    return house.count([path])


def test_vague_names_are_counted_among_all_bindings(counts: house.Counts) -> None:
    names = [place.text for place in counts.places["vague names"]]
    assert sorted(names) == ["found", "made", "one", "these"]
    others = ["Clip", "name", "self", "caption", "_", "longest"]
    assert counts.num_names == len(names) + len(others) + 44
    assert counts.value("vague names") == 4 / counts.num_names


def test_a_fragment_is_no_sentence_that_stands_alone(counts: house.Counts) -> None:
    fragments = [place.text for place in counts.places["fragment docstrings"]]
    assert fragments == ["Of what is here.", "What it is called.", "The caption, cut."]
    assert counts.num_docstrings == 5


def test_long_functions_are_counted_by_the_lines_from_def_to_end(counts: house.Counts) -> None:
    assert [place.text for place in counts.places["long functions"]] == ["longest has 46 lines"]


def test_long_files_are_counted(tmp_path: Path) -> None:
    for num_lines in (house.MAX_FILE, house.MAX_FILE + 1):
        (tmp_path / f"lines{num_lines}.py").write_text("\n" * num_lines)
    counts = house.count(house.sources([tmp_path]))
    assert [place.path.stem for place in counts.places["long files"]] == ["lines401"]


def test_the_counters_keep_their_own_rules() -> None:
    counts = house.count([ROOT / "tests" / "house.py", ROOT / "tests" / "duplicates.py"])
    assert {rule: len(places) for rule, places in counts.places.items()} == dict.fromkeys(LIMITS, 0)
