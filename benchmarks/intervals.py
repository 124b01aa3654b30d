"""Writes intervals for the benchmarks' tables: the mean, and the two ends."""

from collections.abc import Callable, Mapping

from dualipo.evaluation.report.charts import three_decimals

Format = Callable[[float], str]


def signed(value: float) -> str:
    """Write a difference of scores."""
    return f"{value:+.3f}"


def with_ends(interval: Mapping[str, float], write: Format = three_decimals) -> str:
    """Write an interval, for example "0.812 (0.790 to 0.834)"."""
    mean, low, high = (write(interval[name]) for name in ("mean", "low", "high"))
    return f"{mean} ({low} to {high})"


def difference(interval: Mapping[str, float], write: Format = signed) -> str:
    """Write the interval of a difference; its mean is bold where the interval excludes 0."""
    mean, low, high = (write(interval[name]) for name in ("mean", "low", "high"))
    excludes_zero = interval["low"] > 0 or interval["high"] < 0
    return f"{bold(mean) if excludes_zero else mean} ({low} to {high})"


def bold(text: str) -> str:
    """Make a text bold in markdown."""
    return f"**{text}**"
