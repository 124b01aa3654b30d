"""How the benchmarks' tables write an interval: its mean, and between what ends it lies."""

from collections.abc import Callable, Mapping

from dualipo.evaluation.report.charts import three_decimals

Said = Callable[[float], str]


def signed(value: float) -> str:
    """How differences of scores are written."""
    return f"{value:+.3f}"


def with_ends(found: Mapping[str, float], said: Said = three_decimals) -> str:
    """0.812 (0.790 to 0.834)."""
    mean, low, high = (said(found[name]) for name in ("mean", "low", "high"))
    return f"{mean} ({low} to {high})"


def difference(found: Mapping[str, float], said: Said = signed) -> str:
    """A mean whose interval excludes 0 is bold."""
    mean, low, high = (said(found[name]) for name in ("mean", "low", "high"))
    excludes_zero = found["low"] > 0 or found["high"] < 0
    return f"{bold(mean) if excludes_zero else mean} ({low} to {high})"


def bold(text: str) -> str:
    """In markdown."""
    return f"**{text}**"
