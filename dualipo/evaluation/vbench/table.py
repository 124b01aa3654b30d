"""VBench's scores as the table that papers print: Total, Quality, Semantic, sixteen dimensions."""

from collections.abc import Mapping, Sequence

from dualipo.evaluation.vbench.result_files import DimensionScore
from dualipo.evaluation.vbench.totals import DIMENSIONS, Totals, normalised
from dualipo.event_parts import SuiteDimension
from dualipo.suite_events import SuiteEvent

_MAX_NAMED = 5  # clips without a result that a line names
_WIDTH = 24
_GROUPS = ("total", "quality", "semantic")


def in_words(dimension: str) -> str:
    """Return a dimension's name for people."""
    return dimension.replace("_", " ")


def lines(scores: Mapping[str, DimensionScore], totals: Totals | None = None) -> list[str]:
    """Return the table of result files for a terminal."""
    heads = [] if totals is None else _heads(*(getattr(totals, name) for name in _GROUPS))
    ordered = [scores[name] for name in DIMENSIONS if name in scores]
    return [
        *heads,
        _header(),
        *(_line(s.dimension, s.raw, s.num_scored, s.num_planned) for s in ordered),
        *(_failure(s.dimension, s.failed) for s in ordered if s.failed),
        *(f"{s.dimension}: {left_out(s.left_out, s.num_planned)}" for s in ordered if s.left_out),
    ]


def event_lines(event: SuiteEvent) -> list[str]:
    """Return the table of a recorded score for a terminal, with what failed and why."""
    return [
        *_heads(*(getattr(event, name) for name in _GROUPS)),
        _header(),
        *(_line(s.dimension, s.raw, s.num_scored, s.num_planned) for s in event.dimensions),
        *(_failure(s.dimension, s.failed) for s in event.dimensions if s.failed),
        *(
            f"{s.dimension}: {left_out(s.left_out, s.num_planned)}"
            for s in event.dimensions
            if s.left_out
        ),
        *(f"{s.dimension}: not measured. {s.why}" for s in event.dimensions if s.raw is None),
    ]


def left_out(names: Sequence[str], num_planned: int | None) -> str:
    """Say how many clips color does not count, and why."""
    return (
        f"{len(names)} of {num_planned} clips are not counted, as VBench sees no object in some "
        "colour in them"
    )


def published(events: Sequence[SuiteEvent]) -> tuple[list[str], list[list[float | None]]]:
    """Return the columns and rows of the published table: a row for each score, in points of 100.

    Raw scores are in percent, as papers print them. A dimension that no score has is left out.
    """
    by_event = [{s.dimension: s for s in event.dimensions} for event in events]
    names = [name for name in DIMENSIONS if any(name in scores for scores in by_event)]
    rows = [
        [getattr(event, name) for name in _GROUPS] + [_percent(scores.get(name)) for name in names]
        for event, scores in zip(events, by_event, strict=True)
    ]
    return [*_GROUPS, *map(in_words, names)], rows


def _percent(score: SuiteDimension | None) -> float | None:
    return None if score is None or score.raw is None else 100 * score.raw


def _heads(*points: float | None) -> list[str]:
    named = zip(_GROUPS, points, strict=True)
    return [*(f"{name:<{_WIDTH}}{_number(x):>8}" for name, x in named), ""]


def _header() -> str:
    return f"{'dimension':<{_WIDTH}}{'raw %':>8}{'points':>8}  clips"


def _line(dimension: str, raw: float | None, num_scored: int, num_planned: int | None) -> str:
    points = None if raw is None else normalised(dimension, raw)
    percent = None if raw is None else 100 * raw
    clips = f"{num_scored}" if num_planned is None else f"{num_scored} of {num_planned}"
    return f"{in_words(dimension):<{_WIDTH}}{_number(percent):>8}{_number(points):>8}  {clips}"


def _number(points: float | None) -> str:
    return "-" if points is None else f"{points:.2f}"


def _failure(dimension: str, failed: Sequence[str]) -> str:
    rest = len(failed) - _MAX_NAMED
    named = ", ".join(failed[:_MAX_NAMED]) + (f" and {rest} more" if rest > 0 else "")
    return f"{dimension}: no result, counted as zero: {named}"
