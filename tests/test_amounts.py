"""Amounts are read at a glance."""

import pytest

from dualipo import amounts
from dualipo.amounts import Style


@pytest.mark.parametrize(
    ("style", "seconds", "text"),
    [
        ("clock", 0.25, "0.2 s"),
        ("clock", 89, "89 s"),
        ("clock", 600, "10 min"),
        ("clock", 7500, "2 h 05 min"),
        ("measured", 119, "119.0 s"),
        ("measured", 120, "2.0 min"),
        ("measured", 7200, "2.0 h"),
        ("estimated", 0.061, "0.061 s"),
        ("estimated", 414, "6.9 min"),
        ("estimated", 30_240, "8.4 h"),
        ("estimated", 12 * 86_400, "12 days"),
        ("estimated", 3_764 * 86_400, "3,760 days"),
    ],
)
def test_a_duration_has_the_unit_that_fits_it(style: Style, seconds: float, text: str) -> None:
    assert amounts.duration(seconds, style) == text


def test_counts_and_bytes_have_three_digits() -> None:
    assert amounts.count(1.42e9) == "1.42 billion" and amounts.count(21_196) == "21,196"
    assert amounts.storage(350e6) == "350 MB" and amounts.storage(500) == "0.5 kB"
