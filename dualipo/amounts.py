"""Amounts as people read them: counts, bytes, spans of time, and the first of many things."""

from collections.abc import Collection
from itertools import islice
from typing import Literal

Style = Literal["measured", "estimated", "clock"]

_MINUTE, _HOUR, _DAY = 60, 3600, 86400
# Of each style: the least seconds, the unit, its word, and the number's format.
_UNITS = {
    "measured": ((7200, _HOUR, "h", ".1f"), (120, _MINUTE, "min", ".1f"), (0, 1, "s", ".1f")),
    "estimated": (
        (3 * _DAY, _DAY, "days", ",.3g"),
        (_HOUR, _HOUR, "h", ",.3g"),
        (_MINUTE, _MINUTE, "min", ",.3g"),
        (0, 1, "s", ".2g"),
    ),
}


def count(number: float) -> str:
    """Write a count: `1.42 billion`, `87.5 million`, `21,196`."""
    for unit, word in ((1e9, "billion"), (1e6, "million")):
        if number >= unit:
            return f"{number / unit:.3g} {word}"
    return f"{number:,.0f}"


def listed(names: Collection[str], *, most: int = 3) -> str:
    """Write the first of many names, and how many more there are: `a, b, c and 7 more`."""
    shown = ", ".join(islice(names, most))
    return shown if len(names) <= most else f"{shown} and {count(len(names) - most)} more"


def storage(num_bytes: float) -> str:
    """Write a number of bytes: `20.1 TB`, `350 MB`, in powers of 1,000."""
    for unit, word in ((1e15, "PB"), (1e12, "TB"), (1e9, "GB"), (1e6, "MB")):
        if num_bytes >= unit:
            return f"{num_bytes / unit:.3g} {word}"
    return f"{num_bytes / 1e3:.3g} kB"


def duration(seconds: float, style: Style = "measured") -> str:
    """Write a span of time in the unit that fits it.

    | style | for | examples |
    |---|---|---|
    | measured | the times in a table | `31.5 s`, `2.0 min`, `3.1 h` |
    | estimated | a forecast, whatever its size | `0.06 s`, `6.9 min`, `8.4 h`, `3,760 days` |
    | clock | a line of progress | `40 s`, `12 min`, `3 h 05 min` |
    """
    if style == "clock":
        return _clock(seconds)
    units = _UNITS[style]
    _, unit, word, form = next((entry for entry in units if seconds >= entry[0]), units[-1])
    number = seconds / unit
    if number >= 1000:  # never "3.76e+03"
        number, form = float(f"{number:.3g}"), ",.0f"
    return f"{number:{form}} {word}"


def _clock(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s" if seconds >= 1 else f"{seconds:.1f} s"
    minutes = round(seconds / _MINUTE)
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h {minutes % 60:02d} min"
