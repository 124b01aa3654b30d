"""The report's section on whether critics may be trusted: their self-checks and their calibration.

Every critic version is checked before it judges (`critic.checks`); what was recorded is shown, with
what failed marked. The reliability diagram sets how certain a critic was against how often it was
right: on the diagonal it knows what it knows.
"""

from collections.abc import Sequence

from dualipo.evaluation.report import charts
from dualipo.evaluation.report.charts import Point, Series, percent, short
from dualipo.evaluation.report.headline import DASH
from dualipo.evaluation.report.report_tables import Table
from dualipo.evaluation.report.sections import NOTHING, Section
from dualipo.evaluation.run_history import RunHistory
from dualipo.event_parts import CheckRow
from dualipo.events import CaptionsEvent, CriticCheckEvent


def trust_section(history: RunHistory) -> Section:
    """Checks of every critic version, and the newest ones' reliability."""
    checked, notes = history.critic_checks, _turned(history)
    if not checked:
        return NOTHING._replace(notes=notes)
    newest = [one for one in checked if one.reliability][-(charts.NUM_TONES - 1) :]
    diagonal = Series("as certain as right", [Point(0, 0), Point(1, 1)], 1, is_faint=True)
    drawn = [
        Series(
            f"critic {one.critic_version}",
            [Point(column.mean_probability, column.accuracy) for column in one.reliability],
            tone,
        )
        for tone, one in enumerate(newest, start=2)
    ]
    chart = charts.line_chart(
        [diagonal, *drawn],
        title="how often critics are right, by how certain they are",
        y_range=(0.0, 1.0),
        value_format=percent,
    )
    caption = (
        "Across: how certain, up: how often right, on held-out labels; faint: as it should be."
    )
    legend = [(series.name, series.tone) for series in drawn]
    figures = [("Reliability", chart, caption)] if drawn else []
    return Section(figures, legend, [_table(checked)], notes)


def _turned(history: RunHistory) -> list[str]:
    """A sentence a round on captions that were tried without (fault 38)."""
    found = [(one.label, one.event(CaptionsEvent)) for one in history.rounds]
    return [
        f"{name}: {len(tried.flipped)} of {len(tried.talking)} captions that were tried "
        f"without turned what the critic says{_named(tried.flipped)}."
        for name, tried in found
        if tried
    ]


def _named(items: list[str]) -> str:
    return f": {', '.join(items[:3])}" if items else ""


def _table(checked: Sequence[CriticCheckEvent]) -> Table:
    """A row a check, a column a critic version."""
    names = list(dict.fromkeys(check.name for one in checked for check in one.checks))
    rows = []
    for name in names:
        found = [
            next((check for check in one.checks if check.name == name), None) for one in checked
        ]
        bound = next(check for check in found if check)
        sign = "at least" if bound.at_least else "at most"
        cells = [_cell(check) for check in found]
        rows.append([name, *cells, f"{sign} {bound.threshold:g}", bound.what])
    heads = [f"critic {one.critic_version}" for one in checked]
    return Table(["check", *heads, "threshold", "what"], rows)


def _cell(check: CheckRow | None) -> str:
    if check is None or check.number is None:
        return DASH
    return short(check.number) + ("" if check.passed else "\nfailed")
