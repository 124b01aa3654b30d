"""VBench's scores as the table that papers print: Total, Quality, Semantic, sixteen dimensions."""

from collections.abc import Mapping, Sequence

from dualipo.evaluation.vbench.result_files import DimensionScore
from dualipo.evaluation.vbench.totals import DIMENSIONS, Totals, normalised

_MAX_NAMED = 5  # clips without a result that a line names


def in_words(dimension: str) -> str:
    """Return a dimension's name for people."""
    return dimension.replace("_", " ")


def lines(scores: Mapping[str, DimensionScore], totals: Totals | None = None) -> list[str]:
    """Return the table for a terminal; raw scores in percent, and points on VBench's scale."""
    told = []
    if totals is not None:
        for name in ("total", "quality", "semantic"):
            points = getattr(totals, name)
            told.append(f"{name:<24}{'-' if points is None else f'{points:.2f}':>8}")
        told.append("")
    told.append(f"{'dimension':<24}{'raw %':>8}{'points':>8}  clips")
    told += [_line(scores[name]) for name in DIMENSIONS if name in scores]
    return told + failures(list(scores.values()))


def failures(scores: Sequence[DimensionScore]) -> list[str]:
    """Return a line for each dimension with clips that have no result and count as zero."""
    told = []
    for score in scores:
        if score.failed:
            rest = len(score.failed) - _MAX_NAMED
            named = ", ".join(score.failed[:_MAX_NAMED]) + (f" and {rest} more" if rest > 0 else "")
            told.append(f"{score.dimension}: no result, counted as zero: {named}")
    return told


def _line(score: DimensionScore) -> str:
    points = normalised(score.dimension, score.raw)
    clips = str(score.num_scored)
    if score.num_planned is not None:
        clips += f" of {score.num_planned}"
    return f"{in_words(score.dimension):<24}{100 * score.raw:>8.2f}{points:>8.2f}  {clips}"
