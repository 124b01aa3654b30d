"""The embedded world's own suite: a total that triggers may read, without the oracle.

| dimension | points of 100 for a clip |
|---|---|
| consistency, faithfulness, motion | what simulated people say: Good 100, Normal 50, Bad 0 |
| smoothness | by pixels: 100 less the unsmoothness in percent |
| moving clips | by pixels: 100 if it moves, 0 if it is a still picture |

The total is the mean of the five. Every version has the same monitor prompts and the same noise, so
changes are paired by prompt. The people see with noise and overlook faults, as those who label the
seed do; no critic learns from what they say here.
"""

from collections.abc import Callable, Mapping, Sequence
from statistics import fmean

from dualipo.evaluation import clip_changes, measured, pixels
from dualipo.evaluation.clip_changes import STILL, Values
from dualipo.events import MeasuredEvent
from dualipo.records import DIMENSIONS, GRADES, Candidate, Prompt
from dualipo.rounds import world_sources
from dualipo.rounds.clock import Clock
from dualipo.rounds.questions import PointQuestion
from dualipo.rounds.run import Run
from dualipo.rounds.versions import measured_before
from dualipo.rounds.world_sources import Clips
from dualipo.store.ledger import Unit
from dualipo.world.annotators import ANNOTATORS

STAGE = "world_suite"
FELL = "the world's suite fell"
POINTS = dict(zip(GRADES, (100.0, 50.0, 0.0), strict=True))


def measure(run: Run, round: int, attempt: int, version: str, clips: Sequence[Candidate]) -> None:
    """Score a version's monitor clips, where the recipe has this suite and it was not done."""
    unit = Unit(round, attempt, STAGE)
    if run.config.monitor.suite != "world" or run.is_done(unit):
        return
    clock = Clock()
    values = score(clips, frames=run.clip, fps=run.clip_fps, seed=run.seed(STAGE))
    others = measured_before(run, measured.WORLD_SUITE, round, version)
    event = as_event(version, values, others=others)
    run.commit(unit, clock=clock, events=[event])
    for alarm in event.alarms:
        run.progress.say(f"{version}: {alarm}")


def score(
    candidates: Sequence[Candidate], *, frames: Clips, fps: Callable[[str], float], seed: int
) -> Values:
    """Return the points of every clip by dimension and prompt, and each prompt's total."""
    asked = [
        PointQuestion(Prompt(c.prompt_id, c.caption), c.clip, dimension)
        for c in candidates
        for dimension in DIMENSIONS
        for _ in ANNOTATORS  # they answer in turn, so each of them is asked once
    ]
    points: dict[str, dict[str, list[float]]] = {}
    for label in world_sources.label_points(asked, clips=frames, seed=seed):
        own = points.setdefault(label.dimension, {})
        own.setdefault(label.prompt_id, []).append(POINTS[label.grade])
    for candidate in candidates:
        for name, value in _of_pixels(frames(candidate.clip), fps(candidate.clip)).items():
            points.setdefault(name, {}).setdefault(candidate.prompt_id, []).append(value)
    prompts = dict.fromkeys(candidate.prompt_id for candidate in candidates)
    totals = {prompt: [fmean(fmean(own[prompt]) for own in points.values())] for prompt in prompts}
    return {measured.TOTAL: totals} | points


def as_event(
    version: str, values: Values, *, others: Sequence[MeasuredEvent] = ()
) -> MeasuredEvent:
    """Return a version's points with their intervals, and the total's change against `others`."""
    own = [clip_changes.over_prompts(name, by_prompt) for name, by_prompt in values.items()]
    changes = clip_changes.changes_of(measured.TOTAL, others, values)
    return MeasuredEvent(
        source=measured.WORLD_SUITE,
        version=version,
        measurements=[*own, *changes],
        alarms=clip_changes.falls(FELL, own[0], changes),
        by_prompt={measured.TOTAL: dict(values[measured.TOTAL])},
    )


def _of_pixels(frames_FHW3: object, fps: float) -> Mapping[str, float]:
    metrics = pixels.of_clip(frames_FHW3, fps=fps, method="blocks")
    return {
        "smoothness": 100 * (1 - metrics[pixels.UNSMOOTHNESS]),
        "moving clips": 100.0 * (metrics[pixels.DYNAMICS] >= STILL),
    }
