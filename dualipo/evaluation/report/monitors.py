"""What judges, pixels and the world's suite say of every version, round by round.

Judges that never train have a row for each dimension. Clip metrics have a row for a version's own
numbers, and one for each version that they are compared with. Changes are paired over prompts;
intervals are of 95 %, and none is given where the prompts are too few.
"""

from collections.abc import Iterator, Sequence

from markupsafe import Markup

from dualipo.evaluation import clip_changes, judgements, measured, pixels
from dualipo.evaluation.measured import named
from dualipo.evaluation.recommended import BASE_VERSION
from dualipo.evaluation.report import charts
from dualipo.evaluation.report.charts import Point, Series, percent, short
from dualipo.evaluation.report.headline import DASH
from dualipo.evaluation.report.report_tables import Table
from dualipo.evaluation.report.sections import NOTHING, Section
from dualipo.evaluation.run_history import RoundHistory, RunHistory
from dualipo.event_parts import Measurement
from dualipo.events import MeasuredEvent
from dualipo.records import DIMENSIONS

_JUDGES = ["generator", "judge", "dimension", "won against the base", "wins", "ties", "losses"]
Chart = tuple[str, Markup, str]  # heading, drawing, caption

_SHARES = (judgements.WINS, judgements.TIES, judgements.LOSSES)
_SUITE = (measured.TOTAL, *DIMENSIONS, "smoothness", "moving clips")


def section(history: RunHistory) -> Section:
    """Tabulate what judges, pixels and the world's suite say of every version."""
    rounds = history.all_rounds
    shown = tables(rounds)
    if not shown:
        return NOTHING
    return Section([*_win_rates(rounds), *_motion(rounds)], [], shown, [])


def _win_rates(rounds: Sequence[RoundHistory]) -> Iterator[Chart]:
    """Draw how often each judge prefers a version to the base."""
    sources = [event.source for round_ in rounds for event in round_.measured]
    for source in dict.fromkeys(name for name in sources if name.startswith(measured.JUDGE)):
        points = _points(rounds, source, judgements.WIN_RATE, against=BASE_VERSION)
        if not points:
            continue
        name = source.removeprefix(measured.JUDGE)
        chart = charts.line_chart(
            [Series(name, points, 1, has_labels=True)],
            title=f"win rate over the base by {name}",
            x_labels=[round_.label for round_ in rounds],
            reference=0.5,
            value_format=percent,
            axis_format=percent,
        )
        yield f"Won against the base, by {name}", chart, "On the dashed line both are as good."


def _motion(rounds: Sequence[RoundHistory]) -> Iterator[Chart]:
    if points := _points(rounds, measured.PIXELS, pixels.DYNAMICS):
        chart = charts.line_chart(
            [Series(pixels.DYNAMICS, points, 1, has_labels=True)],
            title="dynamic degree per round",
            x_labels=[round_.label for round_ in rounds],
        )
        yield "Motion (dynamic degree)", chart, "In lengths of the frame's longer side a second."


def _points(
    rounds: Sequence[RoundHistory], source: str, name: str, *, against: str | None = None
) -> list[Point]:
    points = []
    for at, round_ in enumerate(rounds):
        for event in round_.measured:
            number = named(event.measurements, name, against=against)
            if event.source == source and number and number.value is not None:
                points.append(Point(at, number.value, number.low, number.high))
    return points


def in_markdown(rounds: Sequence[RoundHistory]) -> str:
    """Return the tables of these rounds' versions; nothing where nothing was measured."""
    shown = tables(rounds)
    if not shown:
        return ""
    flat = [
        Table(each.head, [[_on_one_line(c) for c in row] for row in each.rows]) for each in shown
    ]
    return "\n\n".join(["## Judges and pixels", *(each.in_markdown() for each in flat)])


def _on_one_line(cell: str) -> str:
    """Return a cell with the interval behind its number, and nothing that is markup."""
    return " ".join(cell.replace("\n", ", ").replace("|", "/").replace("<", "&lt;").split())


def tables(rounds: Sequence[RoundHistory]) -> list[Table]:
    """Return the tables that have rows: of judges, of pixels, of the world's suite."""
    every = [
        judges(rounds),
        _versions(rounds, measured.PIXELS, "pixels", pixels.METRICS),
        _versions(rounds, measured.WORLD_SUITE, "the world's suite", _SUITE),
    ]
    return [table for table in every if table.rows]


def judges(rounds: Sequence[RoundHistory]) -> Table:
    """Tabulate wins, ties and losses against the base by judge and dimension."""
    rows = [
        row
        for round_ in rounds
        for event in round_.measured
        if event.source.startswith(measured.JUDGE)
        for row in _of_judge(round_.label, event)
    ]
    return Table([*_JUDGES, "prompts"], rows)


def _of_judge(label: str, event: MeasuredEvent) -> Iterator[list[str]]:
    name = event.source.removeprefix(measured.JUDGE)
    for rate in event.measurements:
        if rate.name != judgements.WIN_RATE:
            continue
        heads = [label, name, rate.dimension or "all"]
        if rate.value is None:
            yield [*heads, f"not measured: {rate.why}", DASH, DASH, DASH, DASH]
            continue
        parts = [
            named(event.measurements, share, against=rate.against, dimension=rate.dimension)
            for share in _SHARES
        ]
        shares = [
            percent(part.value) if part and part.value is not None else DASH for part in parts
        ]
        yield [*heads, _percent_with_ends(rate), *shares, str(rate.num_prompts)]


def _percent_with_ends(rate: Measurement) -> str:
    ends = clip_changes.interval(rate)
    assert rate.value is not None
    return f"{percent(rate.value)}\n{ends.ends(percent)}" if ends else percent(rate.value)


def _versions(
    rounds: Sequence[RoundHistory], source: str, title: str, names: Sequence[str]
) -> Table:
    """Tabulate a source's numbers of each version, and their changes against other versions."""
    rows = []
    for round_ in rounds:
        for event in round_.measured:
            if event.source == source:
                rows.append([round_.label, title, *_cells(event, names, None, "")])
                for other in dict.fromkeys(m.against for m in event.measurements if m.against):
                    changes = _cells(event, names, other, "+")
                    rows.append([round_.label, f"change against {other}", *changes])
    return Table(["generator", "measured by", *names], rows)


def _cells(
    event: MeasuredEvent, names: Sequence[str], against: str | None, sign: str
) -> Iterator[str]:
    for name in names:
        number = named(event.measurements, name, against=against)
        if number is None or number.value is None:
            yield DASH
            continue
        ends = clip_changes.interval(number)
        interval = f"\n{ends.ends(lambda end: _signed(end, sign))}" if ends else ""
        yield _signed(number.value, sign) + interval


def _signed(value: float, sign: str) -> str:
    return f"{sign if value > 0 else ''}{short(value)}"
