"""The self-checks and the calibration of critics, as a section of the report.

Every critic version is checked before it judges (`critic.trust.checks`). The section shows what was
recorded and marks what failed. The reliability diagram draws how often a critic was right against
how certain it was: on the diagonal both are equal.
"""

from collections.abc import Sequence

from dualipo.evaluation.report import charts
from dualipo.evaluation.report.charts import Point, Series, percent, short
from dualipo.evaluation.report.headline import DASH
from dualipo.evaluation.report.report_tables import Table
from dualipo.evaluation.report.sections import NOTHING, Section
from dualipo.evaluation.run_history import RunHistory
from dualipo.event_parts import CaptionTrial, CheckRow
from dualipo.events import CaptionsEvent, CriticCheckEvent


def trust_section(history: RunHistory) -> Section:
    """Show the checks of every critic version, and how reliable the newest ones are."""
    checked, trials, notes = history.critic_checks, *_caption_trials(history)
    if not checked:
        return NOTHING._replace(tables=trials, notes=notes)
    newest = [version for version in checked if version.reliability][-(charts.NUM_TONES - 1) :]
    diagonal = Series("as certain as right", [Point(0, 0), Point(1, 1)], 1, is_faint=True)
    drawn = [
        Series(
            f"critic {version.critic_version}",
            [Point(column.mean_probability, column.accuracy) for column in version.reliability],
            tone,
        )
        for tone, version in enumerate(newest, start=2)
    ]
    chart = charts.line_chart(
        [diagonal, *drawn],
        title="how often critics are right, by how certain they are",
        y_range=(0.0, 1.0),
        value_format=percent,
    )
    caption = (
        "How often the critic is right (upwards) by how certain it is (to the right), on held-out "
        "labels. On the faint line both are equal."
    )
    legend = [(series.name, series.tone) for series in drawn]
    figures = [("Reliability", chart, caption)] if drawn else []
    return Section(figures, legend, [_table(checked), *trials], notes)


def _caption_trials(history: RunHistory) -> tuple[list[Table], list[str]]:
    """Tabulate by round how many verdicts a neutral caption turned, and name the items."""
    events = [(round_.label, round_.event(CaptionsEvent)) for round_ in history.rounds]
    tried = [(label, event.suspicious, event.ordinary) for label, event in events if event]
    if not tried:
        return [], []
    heads = ["turned by a neutral caption", "captions that seem to talk", "ordinary captions"]
    rows = [[label, *map(_turned_share, trials)] for label, *trials in tried]
    notes = [
        f"{label}: the critic judged {len(trial.tried)} clips or pairs again under a neutral "
        f"caption; its verdict turned for {len(trial.turned)} of them{_named(trial.turned)}."
        for label, *trials in tried
        for trial in trials
        if trial and trial.tried
    ]
    return [Table(heads, rows)], notes


def _turned_share(trial: CaptionTrial | None) -> str:
    """Write a trial's turned verdicts as "3 of 8 (38 %)"."""
    if trial is None or not trial.num_verdicts:
        return DASH
    share = percent(trial.num_turned / trial.num_verdicts)
    return f"{trial.num_turned} of {trial.num_verdicts} ({share})"


def _named(items: list[str]) -> str:
    return f": {', '.join(items[:3])}" if items else ""


def _table(checked: Sequence[CriticCheckEvent]) -> Table:
    """Tabulate the checks, one a row, with a column for each critic version."""
    names = list(dict.fromkeys(check.name for version in checked for check in version.checks))
    rows = []
    for name in names:
        checks = [_check_of(version, name) for version in checked]
        bound = next(check for check in checks if check)
        sign = "at least" if bound.at_least else "at most"
        cells = [_cell(check) for check in checks]
        rows.append([name, *cells, f"{sign} {bound.threshold:g}", bound.what])
    heads = [f"critic {version.critic_version}" for version in checked]
    return Table(["check", *heads, "threshold", "what is measured"], rows)


def _check_of(version: CriticCheckEvent, name: str) -> CheckRow | None:
    return next((check for check in version.checks if check.name == name), None)


def _cell(check: CheckRow | None) -> str:
    if check is None or check.number is None:
        return DASH
    return short(check.number) + ("" if check.passed else "\nfailed")
