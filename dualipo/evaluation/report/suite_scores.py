"""The scores of an evaluation suite as papers print them: Total, Quality, Semantic, dimensions.

Only scores of one run, made alike, compare: the same Wan reads 84.26 in one paper and 82.78 in
another.
"""

from collections.abc import Sequence

from dualipo.evaluation import measured
from dualipo.evaluation.report import charts
from dualipo.evaluation.report.charts import Point, Series
from dualipo.evaluation.report.headline import DASH
from dualipo.evaluation.report.report_tables import Table
from dualipo.evaluation.report.sections import NOTHING, Section
from dualipo.evaluation.run_history import RoundHistory, RunHistory
from dualipo.evaluation.vbench import table
from dualipo.suite_events import SuiteEvent

COMPARE = (
    "Total, Quality and Semantic are points of 100 by VBench's own scales; dimensions are raw "
    "scores in percent. They compare within this run only: other frames, steps or versions of the "
    "suite give the same model other points."
)
_NAMES = {
    measured.VBENCH: "a subset of prompts",
    measured.VBENCH_WHOLE: "the whole suite",
    measured.VBENCH_IMPORTED: "files of VBench",
}


def section(history: RunHistory) -> Section:
    """Show the total of every version by the recipe's suite, and the table of all scores."""
    scored = _scored(history)
    if not scored:
        return NOTHING
    drawn = []
    subset = [(round_, event) for round_, event in scored if event.source == measured.VBENCH]
    points = [Point(at, e.total) for at, (_, e) in enumerate(subset) if e.total is not None]
    if points:
        chart = charts.line_chart(
            [Series("total", points, 1, has_labels=True)],
            title="total of VBench's subset per round",
            x_labels=[round_.label for round_, _ in subset],
            value_format=lambda value: f"{value:.2f}",
            axis_format=lambda value: f"{value:g}",
            width=980,
            height=240,
        )
        drawn.append(("Total", chart, "The triggers and the stopping rule read this total."))
    return Section(drawn, [], [_table(scored)], [COMPARE, *_notes([event for _, event in scored])])


def in_markdown(rounds: Sequence[RoundHistory]) -> str:
    """Return the table of these rounds' scores with its notes; nothing where there are none."""
    scored = [(round_, event) for round_ in rounds for event in _newest(round_)]
    if not scored:
        return ""
    notes = [f"- {note}" for note in _notes([event for _, event in scored])]
    return "\n".join(["## VBench", "", COMPARE, "", _table(scored).in_markdown(), "", *notes])


def _scored(history: RunHistory) -> list[tuple[RoundHistory, SuiteEvent]]:
    return [(round_, event) for round_ in history.all_rounds for event in _newest(round_)]


def _newest(round_: RoundHistory) -> list[SuiteEvent]:
    """Return a round's last score of each source."""
    return list({event.source: event for event in round_.suites}.values())


def _table(scored: Sequence[tuple[RoundHistory, SuiteEvent]]) -> Table:
    heads, numbers = table.published([event for _, event in scored])
    rows = [
        [
            round_.label,
            f"{_NAMES.get(event.source, event.source)}, {event.num_prompts} prompts",
            *(DASH if number is None else f"{number:.2f}" for number in own),
        ]
        for (round_, event), own in zip(scored, numbers, strict=True)
    ]
    return Table(["generator", "scored by", *heads], rows)


def _notes(events: Sequence[SuiteEvent]) -> list[str]:
    """Say how the scores were made, and what counts as zero or is missing."""
    made = {name: None for event in events for name in _made(event)}
    facts = [*made]
    for event in events:
        for score in event.dimensions:
            dimension = f"{event.version}, {table.in_words(score.dimension)}"
            if score.raw is None:
                facts.append(f"{dimension}: not measured, so there is no total.")
            elif score.failed:
                num = len(score.failed)
                facts.append(f"{dimension}: {num} of {score.num_planned} clips count as zero.")
            if score.left_out:
                facts.append(f"{dimension}: {table.left_out(score.left_out, score.num_planned)}.")
    return facts


def _made(event: SuiteEvent) -> list[str]:
    """Say with what the clips were sampled and scored, where that is known."""
    parts = {"Sampled with": event.sampled_with, "Scored with": event.scored_with}
    lines = [
        f"{name} {', '.join(f'{key} {value}' for key, value in part.items())}."
        for name, part in parts.items()
        if part
    ]
    prompts = [f"Prompt file of VBench: sha256 {event.prompts_hash}."] * bool(event.prompts_hash)
    return lines + prompts
