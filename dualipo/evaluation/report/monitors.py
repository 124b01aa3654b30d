"""What judges, pixels and the world's suite say of every version, round by round.

Judges that never train have a row for each version, and a column for each dimension: the share of
prompts won with its interval, and wins / ties / losses in percent. Clip metrics have a row for a
version's own numbers, and one for each version that they are compared with. Changes are paired over
prompts; intervals are of 95 %, and none is given where the prompts are too few.
"""

from collections.abc import Callable, Iterator, Sequence

from markupsafe import Markup

from dualipo.evaluation import clip_changes, judgements, measured, pixels
from dualipo.evaluation.measured import named
from dualipo.evaluation.recommended import BASE_VERSION
from dualipo.evaluation.report import charts
from dualipo.evaluation.report.charts import Format, Point, Series, short
from dualipo.evaluation.report.headline import DASH
from dualipo.evaluation.report.report_tables import Table
from dualipo.evaluation.report.sections import NOTHING, Section
from dualipo.evaluation.run_history import RoundHistory, RunHistory
from dualipo.event_parts import Measurement
from dualipo.events import MeasuredEvent
from dualipo.records import DIMENSIONS

Chart = tuple[str, Markup, str]  # heading, drawing, caption
Writer = Callable[[float, float], str]  # writes a change, given the number before

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
            value_format=_percent,
            axis_format=_percent,
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
        _versions(rounds, measured.PIXELS, pixels.METRICS, _in_percent),
        _versions(rounds, measured.WORLD_SUITE, _SUITE, _in_points),
    ]
    return [table for table in every if table.rows]


def judges(rounds: Sequence[RoundHistory]) -> Table:
    """Tabulate what judges say of each version against the base, in all and by dimension."""
    found = [
        (round_.label, event)
        for round_ in rounds
        for event in round_.measured
        if event.source.startswith(measured.JUDGE)
    ]
    every = [m.dimension for _, event in found for m in event.measurements if m.dimension]
    names = [name for name in dict.fromkeys((*DIMENSIONS, *every)) if name in every]
    rows = [
        [label, event.source, *(_won(event, name) for name in (None, *names)), _num_prompts(event)]
        for label, event in found
    ]
    return Table(["generator", "measured by", "won against the base", *names, "prompts"], rows)


def _num_prompts(event: MeasuredEvent) -> str:
    return str(event.measurements[0].num_prompts)


def _won(event: MeasuredEvent, dimension: str | None) -> str:
    """Write how often a judge prefers a version, with the interval, then wins, ties and losses."""
    of_dimension = {"against": BASE_VERSION, "dimension": dimension}
    rate = named(event.measurements, judgements.WIN_RATE, **of_dimension)
    if rate is None or rate.value is None:
        return DASH if rate is None else f"not measured: {rate.why}"
    parts = [named(event.measurements, share, **of_dimension) for share in _SHARES]
    shares = " / ".join(
        f"{100 * part.value:.0f}" for part in parts if part and part.value is not None
    )
    ends = clip_changes.interval(rate)
    interval = f"\n{ends.ends(_percent)}" if ends else ""
    return f"{_percent(rate.value)}{interval}\n{shares}"


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"


def _versions(
    rounds: Sequence[RoundHistory], source: str, names: Sequence[str], write: Writer
) -> Table:
    """Tabulate a source's numbers of each version, and their changes against other versions."""
    rows = []
    for round_ in rounds:
        for event in (event for event in round_.measured if event.source == source):
            own = [_number(event, name) for name in names]
            rows.append([round_.label, source, *own])
            for other in dict.fromkeys(m.against for m in event.measurements if m.against):
                changes = [_change(event, name, other, write) for name in names]
                rows.append([round_.label, f"change against {other}", *changes])
    return Table(["generator", "measured by", *names], rows)


def _number(event: MeasuredEvent, name: str) -> str:
    number = named(event.measurements, name)
    if number is None or number.value is None:
        return DASH
    return _with_ends(number, short)


def _change(event: MeasuredEvent, name: str, against: str, write: Writer) -> str:
    now = named(event.measurements, name)
    change = named(event.measurements, name, against=against)
    if now is None or now.value is None or change is None or change.value is None:
        return DASH
    before = now.value - change.value
    return _with_ends(change, lambda value: write(value, before))


def _with_ends(number: Measurement, write: Format) -> str:
    """Write a number with its interval below it."""
    assert number.value is not None
    ends = clip_changes.interval(number)
    return write(number.value) + (f"\n{ends.ends(write)}" if ends else "")


def _in_percent(change: float, before: float) -> str:
    """Write a change as a share of what was before, which compares across metrics."""
    return f"{100 * change / before:+.1f} %" if before > 0 else f"{change:+.3g}"


def _in_points(change: float, before: float) -> str:
    return f"{change:+.2f}"
