"""The sections of a report: each function turns a `RunHistory` into charts and tables.

Charts are SVG, tables come from `report_tables.py`, so the template computes nothing. A section
whose events are not recorded yet is empty, and the page says so. Left out: the clips, which
`exhibits.py` collects.
"""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

from markupsafe import Markup

from dualipo.evaluation import run_history, trainings
from dualipo.evaluation.report import charts, report_tables
from dualipo.evaluation.report.charts import Point, Series, percent, short, three_decimals
from dualipo.evaluation.report.report_tables import Table
from dualipo.evaluation.run_history import RoundHistory, RunHistory
from dualipo.event_parts import Accuracy
from dualipo.events import MonitorEvent, PreferEvent, RefreshEvent, WarmStartEvent
from dualipo.records import DIMENSIONS

LN_2 = math.log(2)

_KEPT_TONE = 1
_WARM = "warm start"
_KINDS = (
    "pairs ordered by the oracle (reported to people only)",
    "labels held out from its training",
    "audit: fresh labels of the round's own clips",
)
# The preference loss and the likelihood terms are apart: their weighted sum starts anywhere.
CURVES: tuple[tuple[str, str, float | None, str], ...] = (
    ("dpo", "Preference loss", LN_2, "The dashed line is ln 2, where training starts."),
    ("kto", "Preference loss (KTO)", None, "Under its start, desirable clips are told apart."),
    (
        "winner_nll",
        "Denoising error of the winners",
        None,
        "The first likelihood term, unweighted.",
    ),
    ("real_nll", "Denoising error of real clips", None, "The second likelihood term, unweighted."),
    (
        "implicit_accuracy",
        "Implicit accuracy",
        0.5,
        "On the dashed line no preference is learnt.",
    ),
    (
        "holdout_accuracy",
        "Agreement on held-out preferences",
        0.5,
        "Measured on captions that are not trained on; the dashed line is chance.",
    ),
    ("winner_gap", "Winner gap", 0.0, "Under 0, winners are fitted better than before the round."),
    ("loser_gap", "Loser gap", 0.0, "Over 0, losers are fitted worse than before the round."),
)

_LEFT_OUT = "What was dropped, folded or cut on the way, with the first examples of each reason."
_CATEGORIES = (
    "The last table holds the critic's mean score of the clips of each category. A refreshed "
    "critic may score by another scale: compare the categories of one round, not the rounds."
)

_TRAININGS = {
    "warm_start_sft": "the critic's fine-tuning",
    "warm_start_dpo": "the critic on its own traces",
    "srpo": "the critic's refresh",
}


class Section(NamedTuple):
    """Charts with their captions, a legend of (name, tone), and tables."""

    charts: list[tuple[str, Markup, str]]
    legend: list[tuple[str, int]]
    tables: list[Table]
    notes: list[str]


NOTHING = Section([], [], [], [])


def scores(history: RunHistory) -> Section:
    """Show the mean test score of base and every round, in total and by dimension."""
    measured = history.scored()
    if not measured:
        return NOTHING
    names = ("total", *DIMENSIONS)
    points = {
        name: [_score_point(at, round_, name) for at, round_ in enumerate(measured)]
        for name in names
    }
    all_points = [point for line in points.values() for point in line]
    ends = [end for point in all_points for end in (point.low, point.high)]
    bounds = [end for end in ends if end is not None]
    pad = 0.1 * (max(bounds) - min(bounds)) or 0.05
    drawn = []
    for tone, name in enumerate(names, start=1):
        chart = charts.line_chart(
            [Series(name, points[name], tone, has_labels=True)],
            title=f"{name} per round",
            x_labels=[round_.label for round_ in measured],
            y_range=(min(bounds) - pad, max(bounds) + pad),
        )
        drawn.append((name.capitalize(), chart, ""))
    return Section(drawn, [], [report_tables.scores(measured, names)], [])


def critic(history: RunHistory) -> Section:
    """Show the critic's accuracy over the warm start and the rounds, and every refresh."""
    rounds = [history.base, *history.finished_rounds]
    ordered = [pair for round_ in rounds for pair in round_.accuracies()]
    starts = [label for label, _ in history.base.accuracies()] or [_WARM]
    labels = starts + [round_.label for round_ in history.finished_rounds]
    held, audits = [], []
    for round_ in rounds:
        at = len(starts) - 1 if round_ is history.base else labels.index(round_.label)
        if (share := round_.holdout()) is not None:
            held.append(Point(at, share))
        monitor = round_.event(MonitorEvent)
        if monitor and (share := monitor.signals.audit_accuracy) is not None:
            audits.append(Point(at, share))
    if not ordered and not held:
        return NOTHING
    oracle = [_accuracy_point(labels.index(label), accuracy) for label, accuracy in ordered]
    series = [
        Series(name, points, tone, has_labels=tone == 1)
        for tone, (name, points) in enumerate(zip(_KINDS, (oracle, held, audits), strict=True), 1)
    ]
    chart = charts.line_chart(
        series,
        title="accuracy of the critic",
        x_labels=labels,
        marks=_refresh_marks(history, labels),
        reference=0.5,
        value_format=percent,
        axis_format=lambda value: f"{100 * value:g} %",
        width=980,
        height=290,
    )
    tables = [report_tables.accuracies(ordered), report_tables.refreshes(history)]
    caption = (
        "The dashed line is chance. A vertical line marks a round with a refresh, and its outcome."
    )
    legend = [(name, tone) for tone, name in enumerate(_KINDS, start=1)]
    return Section([("", chart, caption)], legend, tables, _annotators(history))


def kept(history: RunHistory) -> Section:
    """Show how many prompts were kept as a preference, and how many dropped, by reason."""
    built = _built(history)
    if not built:
        return NOTHING
    reasons = sorted({reason for _, prefer in built for reason in prefer.dropped})
    tones = {reason: 2 + index % (charts.NUM_TONES - 1) for index, reason in enumerate(reasons)}
    bars = []
    for round_, prefer in built:
        dropped = [(why, prefer.dropped.get(why, 0), tones[why]) for why in reasons]
        bars.append((round_.label, [("kept", prefer.kept, _KEPT_TONE), *dropped]))
    units = built[0][1].of or "prompts"
    chart = charts.stacked_bars(bars, title=f"{units} kept and dropped per round")
    legend = [("kept", _KEPT_TONE), *tones.items()]
    caption = f"{units.capitalize()} of each round, by what became of them."
    tables: list[Table] = [] if history.tuning else [report_tables.filters(history)]
    notes = []
    if (left_out := report_tables.left_out(history)).rows:
        tables.append(left_out)
        notes.append(_LEFT_OUT)
    if history.num_bad_clips:
        notes.append(
            f"{history.num_bad_clips} clips of the run went missing or bad on the disk: "
            f"{history.num_sampled_again} were sampled once more, the others were left out."
        )
    if (categories := report_tables.categories(history)).rows:
        tables.append(categories)
        notes.append(_CATEGORIES)
    return Section([("", chart, caption)], legend, tables, notes)


def curves(history: RunHistory) -> Section:
    """Show the curves of each round's alignment, step by step."""
    aligned = [round_ for round_ in history.rounds if round_.metrics.get("align")]
    if not aligned:
        return NOTHING
    drawn = []
    for key, title, reference, caption in CURVES:
        series = [line for round_ in aligned for line in curve(round_, key)]
        if series:
            chart = charts.line_chart(
                series, title=f"{title} by step", reference=reference, value_format=short
            )
            drawn.append((title, chart, caption))
    legend = [(round_.label, _round_tone(round_)) for round_ in aligned]
    notes = [
        f"{round_.label.capitalize()}: {sentence}"
        for round_ in aligned
        for sentence in trainings.sentences(history.settings, round_)
    ]
    return Section(drawn, legend, [report_tables.alignments(history)], notes)


def losses(history: RunHistory) -> Section:
    """Show the loss of every training except the alignments, which have charts of their own."""
    drawn = []
    for round_ in history.all_rounds:
        for stage, rows in round_.metrics.items():
            points = [
                Point(row["step"], row["loss"]) for row in rows if _is_finite(row.get("loss"))
            ]
            if stage == "align" or not points:
                continue
            series = [Series("each step", points, is_faint=True)]
            series.append(Series("running mean", _running_mean(points)))
            title = f"{round_.label.capitalize()}: {_TRAININGS.get(stage, stage)}"
            chart = charts.line_chart(series, title=f"loss, {title}", value_format=short)
            drawn.append((title, chart, f"At step {len(points)} it is {short(points[-1].y)}."))
    return Section(drawn, [], [], [])


def certainty(history: RunHistory) -> Section:
    """Show how certain the critic was of the pairs that were kept."""
    built = [(round_, prefer) for round_, prefer in _built(history) if prefer.certainty]
    values = [value for _, prefer in built for value in prefer.certainty]
    if not values:
        return NOTHING
    bounds = (0.5, 1.0) if min(values) >= 0.5 else (0.0, 1.0)
    most = max(
        count
        for _, prefer in built
        for count in charts.bin_counts(prefer.certainty, bounds=bounds, num_bins=10)
    )
    drawn = []
    for round_, prefer in built:
        own, units = prefer.certainty, prefer.of or "pairs"
        title = f"{round_.label.capitalize()}: {len(own)} {units}"
        tone = _round_tone(round_)
        chart = charts.histogram(own, title=title, bounds=bounds, most=most, tone=tone)
        drawn.append((title, chart, f"The mean is {three_decimals(sum(own) / len(own))}."))
    return Section(drawn, [], [], [])


def _built(history: RunHistory) -> list[tuple[RoundHistory, PreferEvent]]:
    """Return the rounds whose preferences were built, with what became of their prompts."""
    return [(round_, prefer) for round_ in history.rounds if (prefer := round_.event(PreferEvent))]


def _score_point(at: int, round_: RoundHistory, name: str) -> Point:
    interval = round_.score(name)
    assert interval
    return Point(at, interval.mean, interval.low, interval.high)


def _accuracy_point(at: int, accuracy: Accuracy) -> Point:
    interval = run_history.accuracy_interval(accuracy)
    return Point(at, accuracy.forced_choice or 0.0, interval.low, interval.high)


def _annotators(history: RunHistory) -> list[str]:
    start = history.base.event(WarmStartEvent)
    annotators = start.annotators if start else {}
    shares = [f"{name} {percent(share)}" for name, share in annotators.items() if share is not None]
    if not shares:
        return []
    return [f"The simulated annotators against the oracle's order: {', '.join(shares)}."]


def _refresh_marks(history: RunHistory, labels: list[str]) -> list[tuple[float, str]]:
    return [
        (labels.index(round_.label), refresh.outcome)
        for round_ in history.rounds
        if round_.label in labels
        and (refresh := round_.event(RefreshEvent))
        and refresh.outcome in run_history.TRIED
    ]


def curve(
    round_: RoundHistory, key: str, *, name: str | None = None, tone: int | None = None
) -> list[Series]:
    """Return a curve of a round's alignment: each step faintly, and the running mean."""
    rows = [row for row in round_.metrics["align"] if _is_finite(row.get(key))]
    if not any(row[key] for row in rows):  # a term that is not used is 0 throughout
        return []
    points = [Point(row["step"], row[key]) for row in rows]
    name, tone = name or round_.label, tone or _round_tone(round_)
    raw = Series(f"{name}, each step", points, tone, is_faint=True)
    return [raw, Series(name, _running_mean(points), tone)]


def _running_mean(points: Sequence[Point]) -> list[Point]:
    reach = max(len(points) // 16, 1)
    smoothed = []
    for index, point in enumerate(points):
        near = points[max(index - reach, 0) : index + reach + 1]
        smoothed.append(Point(point.x, sum(other.y for other in near) / len(near)))
    return smoothed


def _round_tone(round_: RoundHistory) -> int:
    return 1 + round_.round % charts.NUM_TONES


def _is_finite(value: Any) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)
