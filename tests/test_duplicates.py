"""The counter of duplicates on small modules: runs of six lines, their text and their shape."""

from pathlib import Path

import pytest

from tests.duplicates import duplicates, logic

SUM = '''"""A module."""
import math

@cached
def total(pairs, weight=1.0):
    """Return the weighted sum."""
    pairs = sorted(pairs, key=lambda pair: pair[0])  # a comment
    first = pairs[0][1] * math.sqrt(weight) + len("abc")

    for key, value in pairs:
        first = first + value * weight
        print(key, "is", value, first, sep=" ")
    return (
        first / len(pairs)
    )
'''
RENAMED = SUM.replace("pair", "row").replace("first", "start").replace("abc", "x").replace("0", "9")
OTHER = SUM.replace("value * weight", "value")
FIELDS = "class Clip:\n" + "".join(f"    {name}: str\n" for name in "abcdef")


@pytest.mark.parametrize(
    ("text", "num_pairs"),
    [(SUM, 1), (RENAMED, 1), (f"answer = 42\n{SUM}", 1), (OTHER, 0), (FIELDS, 0)],
    ids=["letters", "shape", "moved", "other", "fields"],
)
def test_six_lines_alike_are_a_duplicate(tmp_path: Path, text: str, num_pairs: int) -> None:
    first, second = tmp_path / "first.py", tmp_path / "second.py"
    first.write_text(SUM)
    second.write_text(text)
    pairs = duplicates([first, second])
    assert len(pairs) == num_pairs
    assert all((a.path, b.path) == (first, second) for a, b in pairs)


def test_fields_of_the_same_names_are_a_duplicate(tmp_path: Path) -> None:
    paths = [tmp_path / name for name in ("first.py", "second.py")]
    for path in paths:
        path.write_text(FIELDS)
    assert len(duplicates(paths)) == 1


def test_declared_settings_and_options_are_no_logic() -> None:
    text = (
        'parser.add_argument(\n    "run",\n)\nlength: int = Field(\n    7, gt=0\n)\nnum: int = 1\n'
    )
    assert [line for line, _, _ in logic(text)] == [7]


def test_a_file_pairs_with_itself_where_the_runs_do_not_overlap(tmp_path: Path) -> None:
    path = tmp_path / "twice.py"
    path.write_text(SUM + "\n" + SUM)
    assert [(a.line, b.line) for a, b in duplicates([path])] == [(5, 21)]
    path.write_text("print(1, 2, 3)\n" * 11)
    assert not duplicates([path])
    path.write_text("print(1, 2, 3)\n" * 12)
    assert len(duplicates([path])) == 1


def test_a_shape_has_signs_for_names_strings_and_numbers() -> None:
    lines = list(logic(SUM))
    assert [line for line, _, _ in lines] == [5, 7, 8, 10, 11, 12, 14]
    assert lines[-3] == (11, "first = first + value * weight", "N = N + N * N")
    assert lines[-2][2] == "N ( N , S , N , N , N = S )"
