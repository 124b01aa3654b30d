"""The tables of a report: the numbers of its charts, and those that no chart shows.

Cells are text; a value that was not recorded is a dash, never a zero. A line break within a cell
puts the interval under its number.
"""

from collections.abc import Sequence
from typing import NamedTuple

from dualipo.amounts import duration
from dualipo.evaluation import judgements, run_history
from dualipo.evaluation.bootstrap import Interval
from dualipo.evaluation.report.charts import percent, short, three_decimals
from dualipo.evaluation.report.headline import DASH
from dualipo.evaluation.run_history import RoundHistory, RunHistory
from dualipo.event_parts import Accuracy, CategoryScore, Gate, Refinement
from dualipo.events import (
    AlignEvent,
    ConfirmEvent,
    MonitorEvent,
    PreferEvent,
    PromptsEvent,
    RefreshEvent,
    SampleEvent,
    ScoreEvent,
)
from dualipo.left_out import together
from dualipo.records import DIMENSIONS


class Table(NamedTuple):
    """Column heads and rows of text."""

    head: list[str]
    rows: list[list[str]]

    def in_markdown(self) -> str:
        """Return the table in markdown, one line a row."""
        lines = [self.head, ["---"] * len(self.head), *self.rows]
        return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)

    def in_text(self) -> str:
        """Return the table for a terminal, the first and the last column to the left."""
        rows = [self.head, *self.rows]
        widths = [max(len(row[column]) for row in rows) for column in range(len(self.head))]
        lines = (
            "  ".join(
                cell.ljust(width) if column in (0, len(widths) - 1) else cell.rjust(width)
                for column, (cell, width) in enumerate(zip(row, widths, strict=True))
            ).rstrip()
            for row in rows
        )
        return "\n".join(lines)


def scores(measured: Sequence[RoundHistory], names: Sequence[str]) -> Table:
    """Tabulate test scores, with paired differences against base and the round before."""
    rows = []
    for index, round_ in enumerate(measured):
        cells = [_with_ends(round_.score(name)) for name in names]
        steps = [
            _difference(measured[0], round_) if index else DASH,
            _difference(measured[index - 1], round_) if index > 1 else DASH,
        ]
        rows.append([round_.label, *cells, *steps])
    return Table(["generator", *names, "total against base", "against the round before"], rows)


def accuracies(measured: Sequence[tuple[str, Accuracy]]) -> Table:
    """Tabulate the critic's accuracy on pairs that the oracle orders."""
    rows = []
    named = {name for _, accuracy in measured for name in accuracy.by_dimension}
    dimensions = judgements.in_order(named or DIMENSIONS)
    for label, accuracy in measured:
        ends = run_history.accuracy_interval(accuracy)
        parts = [_percent(accuracy.by_dimension.get(dimension)) for dimension in dimensions]
        rows.append(
            [
                label,
                f"{_percent(accuracy.forced_choice)}\n{percent(ends.low)} to {percent(ends.high)}",
                str(accuracy.num),
                _percent(accuracy.free_form),
                _percent(accuracy.abstain_rate),
                *parts,
            ]
        )
    return Table(["critic", "forced choice", "pairs", "free form", "abstains", *dimensions], rows)


def refreshes(history: RunHistory) -> Table:
    """Tabulate what the monitor measured in each round, and the refresh that followed."""
    rows = []
    for round_ in history.finished_rounds:
        monitor, refresh = round_.event(MonitorEvent), round_.event(RefreshEvent)
        assert monitor
        signals, refinement = monitor.signals, refresh.refinement if refresh else None
        why = (refresh and refresh.why) or monitor.triggers
        ends = used = [DASH, DASH]
        gate = refinement.gate if refinement else None
        if refinement:
            ends = [_percent(refinement.holdout_before), _percent(refinement.holdout_after)]
            used = [_count(refinement.num_kept), _count(refinement.num_judged)]
        measured = (signals.holdout_accuracy, signals.audit_accuracy, signals.win_rate)
        rows.append(
            [round_.label]
            + [_percent(share) for share in measured]
            + [round_.refresh_outcome() or DASH, "; ".join(why) or DASH]
            + [_ruling(gate) if gate else DASH]
            + [DASH if ends == [DASH, DASH] else " → ".join(ends)]
            + [DASH if used == [DASH, DASH] else " of ".join(used)]
            + [_sources(refinement) or DASH if refinement else DASH]
            + ["; ".join(monitor.stop) or DASH]
        )
    head = ["round", "held-out", "audit", "win rate", "refresh", "reason", "gate"]
    return Table(
        [*head, "held-out labels", "judgements used", "pairs learned from", "reasons to stop"], rows
    )


def _sources(refinement: Refinement) -> str:
    """Write how many pairs each source gave, and how many are right by some fresh labels."""
    return ", ".join(
        f"{source.name} {source.num_pairs}"
        + (
            f" ({_percent(source.precision)} of {source.num_labelled} right)"
            if source.num_labelled
            else ""
        )
        for source in refinement.sources or []
    )


def _ruling(gate: Gate) -> str:
    """Write what a refresh was decided on: the labels, the accuracies and the interval."""
    whose = "the present clips" if gate.labels == "audit" else "the base's clips"
    return (
        f"{gate.verdict} on {gate.num_labels} labels of {whose}: {percent(gate.accuracy_before)} → "
        f"{percent(gate.accuracy_after)}, a change of {100 * gate.accuracy_low:+.1f} to "
        f"{100 * gate.accuracy_high:+.1f} points; log-loss {gate.loss_low:+.3f} to "
        f"{gate.loss_high:+.3f}, which decides; a fall of {100 * gate.detectable:.1f} points would "
        f"be seen, {100 * gate.margin:g} are asked for"
    )


def filters(history: RunHistory) -> Table:
    """Tabulate how many prompts, clips and votes each round had, and how many it left out."""
    rows = []
    for round_ in history.rounds:
        prompts, sample = round_.event(PromptsEvent), round_.event(SampleEvent)
        score, confirm = round_.event(ScoreEvent), round_.event(ConfirmEvent)
        prefer = round_.event(PreferEvent)
        row = [DASH] * 12
        if prompts:
            screened = ", ".join(f"{why}: {num}" for why, num in prompts.screened.items())
            row[:3] = _count(prompts.num), _count(prompts.num_folded), screened or DASH
        if sample:
            counts = (sample.num_clips, sample.num_rejected, sample.num_resampled)
            row[3:6] = map(_count, counts)
        if score:
            row[6:8] = _count(score.num_short), _percent(score.abstain_rate)
        if confirm:
            row[8], row[10] = _percent(confirm.abstain_rate), _short(confirm.mean_entropy)
            row[11] = _percent(confirm.mean_order_agreement)
        if prefer:
            row[9] = _percent(prefer.mean_vote_share)
        rows.append([round_.label, *row])
    head = ["round", "prompts", "duplicates", "refused", "clips", "unusable", "resampled", "short"]
    head += ["grades abstained", "votes abstained", "mean vote share", "entropy", "orders agree"]
    return Table(head, rows)


def left_out(history: RunHistory) -> Table:
    """Tabulate what each round dropped, folded or cut, by reason, with the first examples."""
    rows = [
        [round_.label, _count(part.num), reason, "; ".join(part.examples)]
        for round_ in history.all_rounds
        for reason, part in together(round_.left_out).items()
    ]
    return Table(["round", "number", "left out", "for example"], rows)


def categories(history: RunHistory) -> Table:
    """Tabulate the critic's mean score of each category's clips, round by round."""
    scored = [
        (round_.label, event.categories)
        for round_ in history.rounds
        if (event := round_.event(ScoreEvent)) and event.categories
    ]
    names = sorted({name for _, categories in scored for name in categories})
    rows = []
    for name in names:
        cells = [categories.get(name) for _, categories in scored]
        rows.append([name or "(none)", *(_category_cell(cell) for cell in cells)])
    return Table(["category", *(label for label, _ in scored)], rows)


def _category_cell(score: CategoryScore | None) -> str:
    if score is None or score.mean is None:
        return DASH
    return f"{three_decimals(score.mean)}\n{_count(score.num_prompts)} prompts"


def alignments(history: RunHistory) -> Table:
    """Tabulate each alignment's last numbers, the generator it made and the critic it used."""
    rows = []
    for round_ in history.rounds:
        if align := round_.event(AlignEvent):
            gaps = [_short(gap) for gap in (align.winner_gap, align.loser_gap, align.z_std)]
            trained = [_count(align.num_steps), _percent(align.implicit_accuracy), *gaps]
            rows.append([round_.label, *trained, align.generator_version, align.critic_version])
    head = ["round", "steps", "implicit accuracy", "winner gap", "loser gap", "std of z"]
    return Table([*head, "generator", "critic"], rows)


def clocks(history: RunHistory) -> Table:
    """Tabulate the time of each stage by round, and its peak memory."""
    columns = [round_ for round_ in history.all_rounds if round_.clocks]
    stages = list(dict.fromkeys(stage for round_ in columns for stage in round_.clocks))
    rows = []
    for stage in stages:
        spent = [round_.clocks.get(stage) for round_ in columns]
        total = sum(clock.seconds for clock in spent if clock)
        peak_mb = max(clock.peak_mb for clock in spent if clock)
        cells = [duration(clock.seconds) if clock else DASH for clock in spent]
        rows.append([stage, *cells, duration(total), f"{peak_mb:,.0f} MB"])
    sums = [sum(clock.seconds for clock in round_.clocks.values()) for round_ in columns]
    if rows:
        rows.append(["all stages", *map(duration, [*sums, sum(sums)]), ""])
    return Table(["stage", *(round_.label for round_ in columns), "total", "peak memory"], rows)


def _difference(before: RoundHistory, after: RoundHistory) -> str:
    change = run_history.difference(before, after)
    return f"{change.mean:+.3f}\n{change.ends('{:+.3f}'.format)}" if change else DASH


def _with_ends(interval: Interval | None) -> str:
    if interval is None:
        return DASH
    return f"{three_decimals(interval.mean)}\n{interval.ends(three_decimals)}"


def _percent(value: float | None) -> str:
    return DASH if value is None else percent(value)


def _count(value: int | None) -> str:
    return DASH if value is None else f"{value:,}"


def _short(value: float | None) -> str:
    return DASH if value is None else short(value)
