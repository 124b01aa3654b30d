"""VBench's scores of a version as every source gives its measurements, and their changes.

The total of a subset has one clip of each prompt, so its change against another version is paired
by prompt and has an interval; a total of the whole suite has none.
"""

from collections.abc import Callable, Sequence

from dualipo.evaluation import clip_changes, measured
from dualipo.evaluation.clip_changes import Values
from dualipo.evaluation.vbench import prompt_file, totals
from dualipo.event_parts import Measurement
from dualipo.events import MeasuredEvent
from dualipo.suite_events import SuiteDimensionEvent, SuiteEvent


def as_measured(
    event: SuiteEvent,
    values: Values,
    others: Sequence[MeasuredEvent],
    *,
    first: SuiteEvent | None = None,
) -> MeasuredEvent:
    """Return the score as every source gives its measurements.

    `first` is the run's first score by this suite; other packages than its own raise an alarm.
    """
    gaps = _gaps(event)
    why = f"no total, as dimensions are missing: {'; '.join(gaps)}" if gaps else None
    if event.total is None and not gaps:
        num, of = len(event.dimensions), len(totals.DIMENSIONS)
        why = f"no total, as {num} of {of} dimensions are scored"
    groups = {measured.TOTAL: event.total, "quality": event.quality, "semantic": event.semantic}
    changes = clip_changes.changes_of(measured.TOTAL, others, values)
    return MeasuredEvent(
        source=event.source,
        version=event.version,
        measurements=[
            *(
                Measurement(name=name, value=points, num_prompts=event.num_prompts, why=why)
                for name, points in groups.items()
                if points is not None or name == measured.TOTAL
            ),
            *(
                Measurement(
                    name=s.dimension,
                    value=None if s.raw is None else totals.normalised(s.dimension, s.raw),
                    num_prompts=s.num_planned,
                    why=s.why,
                )
                for s in event.dimensions
            ),
            *changes,
        ],
        alarms=[*_alarms(event, why if gaps else None, changes), *_other_packages(event, first)],
        by_prompt={name: dict(own) for name, own in values.items()} or None,
    )


def _other_packages(event: SuiteEvent, first: SuiteEvent | None) -> list[str]:
    """Say what a version was scored with that the run's first score was not."""
    if first is None or not event.scored_with or not first.scored_with:
        return []
    names = sorted(event.scored_with.keys() | first.scored_with.keys())
    now, before = ([f"{n} {e.scored_with.get(n, 'absent')}" for n in names] for e in (event, first))
    changed = [f"{a} ({b} for {first.version})" for a, b in zip(now, before, strict=True) if a != b]
    if not changed:
        return []
    return [
        f"VBench of {event.version}: it was scored with {', '.join(changed)}, so the scores of the "
        "two may not compare"
    ]


def _gaps(event: SuiteEvent) -> list[str]:
    """Return each reason for which dimensions have no score, behind their names."""
    by_reason: dict[str | None, list[str]] = {}
    for score in event.dimensions:
        if score.raw is None:
            by_reason.setdefault(score.why, []).append(score.dimension)
    return [f"{', '.join(names)}: {str(why).rstrip('.')}" for why, names in by_reason.items()]


def _alarms(event: SuiteEvent, gaps: str | None, changes: Sequence[Measurement]) -> list[str]:
    """Say what is missing, which clips count as zero, and that the total fell where it is shown."""
    subject = f"VBench of {event.version}"
    alarms = [f"{subject}: {gaps}"] if gaps else []
    alarms += [
        f"{subject}: {s.dimension} counts {len(s.failed)} clips as zero, as they have no result; "
        f"{s.failed[0]} is one"
        for s in event.dimensions
        if s.failed
    ]
    total = Measurement(name=measured.TOTAL, value=event.total, num_prompts=event.num_prompts)
    return alarms + clip_changes.falls("VBench's total fell", total, changes)


def values(
    scored: Sequence[SuiteDimensionEvent],
    *,
    planned: Callable[[str], Sequence[str]],
    is_complete: bool,
) -> Values:
    """Return the subset's results by dimension and prompt, and what each prompt adds to the total.

    There is one clip of each prompt; one without a result counts as zero, unless the dimension
    leaves it out. `planned` gives the names of a dimension's clips; there is a total only where all
    dimensions have a score.
    """
    results = {
        each.score.dimension: {
            prompt_file.prompt_of(name): each.by_clip.get(name, 0.0)
            for name in planned(each.score.dimension)
            if name not in (each.score.left_out or ())
        }
        for each in scored
        if each.score.raw is not None
    }
    whole = {measured.TOTAL: totals.by_prompt(results)} if is_complete else {}
    return {
        name: {prompt: [value] for prompt, value in own.items()}
        for name, own in (whole | results).items()
    }
