"""Did it help? One sentence and one table, from all that compares the newest version with the base.

A source counts as evidence for or against only where its 95 % interval excludes "no difference".
The critic that trained is shown for comparison and is no evidence: the generator learnt to please
it. What could not be measured is said with the reason, and is never a zero.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from dualipo.evaluation import measured, pixels, recommended, run_history
from dualipo.evaluation.bootstrap import Interval
from dualipo.evaluation.clip_changes import interval
from dualipo.evaluation.report.charts import percent, short
from dualipo.evaluation.report.headline import DASH
from dualipo.evaluation.report.report_tables import Table
from dualipo.evaluation.run_history import RoundHistory, RunHistory
from dualipo.event_parts import Measurement
from dualipo.events import AlignEvent, MeasuredEvent

Finding = Literal["better", "worse", "rose", "fell", "no difference shown", "not measured"]
HEAD = ["measured by", "what", "base", "now", "difference, 95 % interval", "prompts", "in words"]
_SHOWN = (pixels.DYNAMICS, pixels.UNSMOOTHNESS, pixels.DIVERSITY)  # of the clip metrics
_EVEN = 0.5


@dataclass(frozen=True)
class Row:
    """One line of the table; `is_evidence` where it counts for or against the version."""

    source: str
    name: str
    finding: Finding
    base: str = DASH
    now: str = DASH
    difference: str = DASH
    num_prompts: int | None = None
    is_evidence: bool = True
    why: str = ""

    @property
    def cells(self) -> list[str]:
        """The row's text, as `HEAD` names it."""
        words = f"not measured: {self.why}" if self.finding == "not measured" else self.finding
        prompts = DASH if self.num_prompts is None else str(self.num_prompts)
        return [self.source, self.name, self.base, self.now, self.difference, prompts, words]


@dataclass(frozen=True)
class Answer:
    """The sentence, the rows behind it, and the alarms of the newest version."""

    sentence: str
    rows: tuple[Row, ...]
    alarms: tuple[str, ...]

    @property
    def table(self) -> Table:
        """The rows as a table of text."""
        return Table(HEAD, [row.cells for row in self.rows])

    @property
    def lines(self) -> list[str]:
        """The sentence, and a line for each alarm."""
        return [self.sentence, *(f"Alarm: {alarm.rstrip('.')}." for alarm in self.alarms)]

    @property
    def text(self) -> str:
        """The sentence with the alarms behind it, as one paragraph."""
        return " ".join(self.lines)


def answer(history: RunHistory) -> Answer:
    """Return whether the newest finished version is better than the base, by all that was asked."""
    now = _newest(history)
    if now is None:
        return Answer("Did it help? No version is finished yet.", (), tuple(_alarms(history.base)))
    rows = tuple(_rows(history, now))
    version = recommended.version_of(now)
    parts = [_verdict(history, version, rows), _motion(history, rows), _unknown(history, rows)]
    return Answer(" ".join(filter(None, parts)), rows, tuple(_alarms(now)))


def _newest(history: RunHistory) -> RoundHistory | None:
    made = history.finished_rounds
    if history.tuning:
        made = [round_ for round_ in history.rounds if round_.event(AlignEvent)]
    return made[-1] if made else None


def _alarms(round_: RoundHistory) -> list[str]:
    return [alarm for event in round_.measured for alarm in event.alarms]


def _rows(history: RunHistory, now: RoundHistory) -> Iterator[Row]:
    base = history.base
    if (change := run_history.difference(base, now)) is not None:
        ends = [score for round_ in (base, now) if (score := round_.score("total"))]
        first, last = (f"{score.mean:.3f}" for score in ends)
        yield _compared("oracle", "total, for people only", first, last, change)
    own = [event for event in now.measured if event.version == recommended.version_of(now)]
    for event in own:
        if event.source.startswith(measured.JUDGE):
            yield _of_judge(event)
        elif event.source not in (measured.PIXELS, measured.ORACLE):
            yield from _of_suite(event, base)
    yield from _of_people(history.study, recommended.version_of(now))
    if (rate := recommended.win_rate(now)) is not None:
        yield _rate("the critic that trained", rate, "the version before", is_evidence=False)
    for event in own:
        if event.source == measured.PIXELS:
            yield from _of_pixels(event)


def _compared(
    source: str, name: str, first: str, last: str, change: Interval, *, is_evidence: bool = True
) -> Row:
    finding: Finding = "no difference shown"
    if change.excludes_zero:
        finding = "better" if change.mean > 0 else "worse"
    difference = f"{change.mean:+.3f} ({change.ends('{:+.3f}'.format)})"
    num = change.num_clusters
    return Row(source, name, finding, first, last, difference, num, is_evidence)


def _of_people(study: Sequence[Mapping[str, Any]], version: str) -> Iterator[Row]:
    """Yield what people said of a version against the base in a blind study, in all its dimensions.

    "overall" is a question of its own; only where it was asked, it alone is shown.
    """
    base = recommended.BASE_VERSION
    found = [result for result in study if {result["a"], result["b"]} == {base, version}]
    overall = [result for result in found if result["dimension"] == "overall"]
    for result in overall or found:
        ends = result["win_rate"]
        mean, low, high = ends["mean"], ends["low"], ends["high"]
        if result["a"] == base:  # then it is the base's rate
            mean, low, high = 1 - mean, 1 - high, 1 - low
        num = result["wins"] + result["ties"] + result["losses"]
        row = _rate(measured.PEOPLE, Interval(mean, low, high, num), "the base")
        name = f"{num} answers of a blind study, {result['dimension']}"
        yield replace(row, name=name, num_prompts=None)


def _of_judge(event: MeasuredEvent) -> Row:
    rate = event.measurements[0]
    ends = interval(rate)
    if rate.value is None:
        return Row(event.source, _won("the base"), "not measured", why=rate.why or "")
    return _rate(event.source, ends or Interval(rate.value, 0, 1, rate.num_prompts), "the base")


def _won(other: str) -> str:
    return f"prompts won against {other}"


def _rate(source: str, rate: Interval, other: str, *, is_evidence: bool = True) -> Row:
    finding: Finding = "no difference shown"
    if rate.is_enough and not rate.low <= _EVEN <= rate.high:
        finding = "better" if rate.mean > _EVEN else "worse"
    return Row(
        source,
        _won(other),
        finding,
        now=percent(rate.mean),
        difference=f"50 % is even ({rate.ends(percent)})",
        num_prompts=rate.num_clusters,
        is_evidence=is_evidence,
    )


def _of_suite(event: MeasuredEvent, base: RoundHistory) -> Iterator[Row]:
    """Yield a suite's or the people's total beside the base's; one draw has no interval."""
    before = [other for other in base.measured if other.source == event.source]
    first = measured.named(before[-1].measurements, measured.TOTAL) if before else None
    now = measured.named(event.measurements, measured.TOTAL)
    if now is None:
        return
    change = measured.named(event.measurements, measured.TOTAL, against=recommended.BASE_VERSION)
    numbers = (_number(first), _number(now))
    if now.value is None:
        yield Row(event.source, measured.TOTAL, "not measured", why=now.why or "")
    elif change is not None and (ends := interval(change)):
        yield _compared(event.source, measured.TOTAL, *numbers, ends)
    else:
        difference = DASH
        if first is not None and first.value is not None:
            difference = f"{now.value - first.value:+.2f}, no interval"
        shown: Finding = "no difference shown"
        num = now.num_prompts
        yield Row(event.source, measured.TOTAL, shown, *numbers, difference, num)


def _of_pixels(event: MeasuredEvent) -> Iterator[Row]:
    for name in _SHOWN:
        now = measured.named(event.measurements, name)
        change = measured.named(event.measurements, name, against=recommended.BASE_VERSION)
        ends = interval(change) if change else None
        if now is None or now.value is None or ends is None:
            continue
        row = _compared(
            "pixels",
            name,
            short(now.value - ends.mean),
            short(now.value),
            ends,
            is_evidence=False,
        )
        words: dict[Finding, Finding] = {"better": "rose", "worse": "fell"}
        yield replace(row, finding=words.get(row.finding, row.finding))


def _number(measurement: Measurement | None) -> str:
    if measurement is None or measurement.value is None:
        return DASH
    return f"{measurement.value:.2f}"


def _verdict(history: RunHistory, version: str, rows: tuple[Row, ...]) -> str:
    evidence = [row for row in rows if row.is_evidence]
    by_finding = {
        finding: [_named(row.source) for row in evidence if row.finding == finding]
        for finding in ("better", "worse", "no difference shown")
    }
    better, worse, even = (", ".join(sources) for sources in by_finding.values())
    subject = f"{version} against the base"
    if better and worse:
        return (
            f"Did it help? The measurements disagree on {subject}: better by {better}, worse by "
            f"{worse}."
        )
    if better:
        rest = f"; no difference is shown by {even}" if even else ""
        return f"Did it help? Yes: {subject} is better by {better}{rest}."
    if worse:
        return f"Did it help? No: {subject} is worse by {worse}."
    if even:
        return f"Did it help? It is not shown: {subject} has no clear difference by {even}."
    if history.tuning:
        return (
            f"Did it help? It is not known: nothing compared {subject}. Ask people with "
            "`dualipo study`."
        )
    return (
        f"Did it help? It is not known: nothing but the critic that trained compared {subject}. "
        "Name judges in monitor.judges, or ask people with `dualipo study`."
    )


def _named(source: str) -> str:
    return f"the {source}" if source == measured.ORACLE else source


def _motion(history: RunHistory, rows: tuple[Row, ...]) -> str:
    row = next((row for row in rows if row.name == pixels.DYNAMICS), None)
    if row is None and history.settings.get("monitor.clip_metrics", "off") != "off":
        return "Motion is not compared, as there are too few clips."
    if row is None:
        return 'Motion is not measured (monitor.clip_metrics = "blocks" does).'
    if row.finding == "no difference shown":
        return f"No change of motion is shown (dynamic degree {row.base} to {row.now})."
    return f"Motion {row.finding} (dynamic degree {row.base} to {row.now})."


def _unknown(history: RunHistory, rows: tuple[Row, ...]) -> str:
    """Say what this recipe or a judge that was down leaves open."""
    missing = [row.source for row in rows if row.finding == "not measured"]
    if not any(row.source == measured.PEOPLE for row in rows):
        missing.append("people's own judgement of these clips")
    if history.has_own_captions and not any(row.source.startswith(measured.VBENCH) for row in rows):
        missing.append("a suite's total")
    return f"Not known: {', '.join(missing)}." if missing else ""
