"""The result of a study for people: a table as text, and one self-contained page with plots.

The page names the generators, so nobody who still answers may see it (fault 58).
"""

import base64
import hashlib
from pathlib import Path
from typing import Any

from markupsafe import Markup

from dualipo.evaluation.bootstrap import Interval
from dualipo.evaluation.report import charts, templates
from dualipo.evaluation.report.charts import Point, Series
from dualipo.evaluation.study.win_rates import Study

_FOLDER = Path(__file__).parent
HEAD = ("dimension", "generator", "against", "wins", "ties", "losses", "win rate", "95 % interval")


def as_json(study: Study) -> dict[str, Any]:
    """Return the result as plain values, `a` against `b` in alphabetical order."""
    return {
        "schema_version": 1,
        "generators": list(study.generators),
        "num_prompts": study.num_prompts,
        "num_annotators": study.num_annotators,
        "num_answers": study.num_answers,
        "num_abstained": study.num_abstained,
        "comparisons": [
            {
                "dimension": result.dimension,
                "a": result.first,
                "b": result.second,
                "wins": result.wins,
                "ties": result.ties,
                "losses": result.losses,
                "win_rate": _ends(result.win_rate),
            }
            for result in study.results
        ],
        "ratings": [
            {
                "dimension": rating.dimension,
                "generator": rating.generator,
                "rating": _ends(rating.rating),
            }
            for rating in study.ratings
        ],
    }


def rows(study: Study) -> list[tuple[str, ...]]:
    """Return the cells of the table, whose columns HEAD names."""
    return [
        (
            *(result.dimension, result.first, result.second),
            *map(str, (result.wins, result.ties, result.losses)),
            charts.percent(result.win_rate.mean),
            f"{charts.percent(result.win_rate.low)} to {charts.percent(result.win_rate.high)}",
        )
        for result in study.results
    ]


def table(study: Study) -> str:
    """Return the result as a table of aligned text."""
    lines = [HEAD, *rows(study)]
    widths = [max(len(line[n]) for line in lines) for n in range(len(HEAD))]
    text = [
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    ]
    return "\n".join([*text, "", sentence(study)])


def sentence(study: Study) -> str:
    """Say how many answers, prompts and people the numbers come from."""
    people = (
        "1 person, who is not resampled"
        if study.num_annotators == 1
        else (f"{study.num_annotators} people")
    )
    return (
        f"{study.num_answers} answers about {study.num_prompts} prompts by {people}; "
        f"{study.num_abstained} could not tell. Intervals resample prompts and people."
    )


def build(study: Study, *, title: str) -> str:
    """Return the page of a study as HTML."""
    template = templates.environment(_FOLDER).get_template("study_page.html.j2")
    css = (_FOLDER.parent / "report" / "report.css").read_text(encoding="utf-8")
    css_hash = base64.b64encode(hashlib.sha256(css.encode()).digest()).decode()
    return template.render(
        title=title,
        css=Markup(css),
        css_hash=f"sha256-{css_hash}",
        sentence=sentence(study),
        win_rates=_win_rates(study),
        shares=_shares(study),
        ratings=_ratings(study),
        head=HEAD,
        rows=rows(study),
        legend=_legend(study),
        rated=[(name, 1 + n % charts.NUM_TONES) for n, name in enumerate(study.generators)],
    )


def _legend(study: Study) -> list[tuple[str, int]]:
    pairs = list(dict.fromkeys((result.first, result.second) for result in study.results))
    return [(f"{a} against {b}", 1 + n % charts.NUM_TONES) for n, (a, b) in enumerate(pairs)]


def _win_rates(study: Study) -> Markup:
    names = [name for name, _ in _legend(study)]
    series = []
    for result in study.results:
        n = names.index(f"{result.first} against {result.second}")
        # Beside one another, or their whiskers would cover each other.
        offset = (n - (len(names) - 1) / 2) * 0.6 / len(names)
        x = study.dimensions.index(result.dimension) + offset
        series.append(_dot(names[n], x, result.win_rate, n))
    return charts.line_chart(
        series,
        title="Win rate by dimension, with 95 % intervals",
        x_labels=study.dimensions,
        reference=0.5,
        y_range=(0.0, 1.0),
        value_format=charts.percent,
        axis_format=lambda value: f"{100 * value:.0f} %",
        width=980,
        height=300,
    )


def _shares(study: Study) -> Markup:
    bars = []
    for result in study.results:
        parts = (("wins", result.wins, 1), ("ties", result.ties, 6), ("losses", result.losses, 2))
        pair = f" {result.first} / {result.second}" if len(study.generators) > 2 else ""
        bars.append((f"{result.dimension}{pair}", parts))
    return charts.stacked_bars(bars, title="Wins, ties and losses", left=110 + 7 * _longest(bars))


def _longest(bars: list[Any]) -> int:
    return max(0, *(len(label) - 14 for label, _ in bars))


def _ratings(study: Study) -> Markup | None:
    if not study.ratings:
        return None
    series = []
    for rating in study.ratings:
        n = study.generators.index(rating.generator)
        offset = (n - (len(study.generators) - 1) / 2) * 0.6 / len(study.generators)
        x = study.dimensions.index(rating.dimension) + offset
        series.append(_dot(rating.generator, x, rating.rating, n))
    return charts.line_chart(
        series,
        title="Bradley-Terry ratings with 95 % intervals",
        x_labels=study.dimensions,
        reference=0.0,
        value_format=charts.short,
        width=980,
        height=300,
    )


def _dot(name: str, x: float, interval: Interval, n: int) -> Series:
    point = Point(x, interval.mean, interval.low, interval.high)
    return Series(name, [point], tone=1 + n % charts.NUM_TONES, has_labels=True)


def _ends(interval: Interval) -> dict[str, float]:
    return {"mean": interval.mean, "low": interval.low, "high": interval.high}
