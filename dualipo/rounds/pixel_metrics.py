"""The stage that measures a version's fixed clips from their pixels, without an oracle.

A run's are its monitor clips, so that triggers may read what is measured; a tuning, which has
none, takes those of its validation prompts.
"""

from collections.abc import Sequence

from dualipo.evaluation import clip_changes, measured, pixels
from dualipo.events import MeasuredEvent
from dualipo.records import Candidate
from dualipo.rounds.clock import Clock
from dualipo.rounds.run import Run
from dualipo.rounds.versions import measured_before
from dualipo.store.ledger import Unit


def measure(
    run: Run, round: int, attempt: int, version: str, clips: Sequence[Candidate]
) -> MeasuredEvent | None:
    """Measure a version's clips beside the base's and the version before; say what alarms.

    None where the recipe does not ask for it.
    """
    unit = Unit(round, attempt, "clip_metrics")
    if run.config.monitor.clip_metrics == "off":
        return None
    if not run.is_done(unit):
        clock = Clock()
        values = _values(run, clips)
        others = measured_before(run, measured.PIXELS, round, version)
        event = clip_changes.of_version(version, values, others=others)
        run.commit(unit, clock=clock, events=[event])
        for alarm in event.alarms:
            run.progress.say(f"{version}: {alarm}")
    return run.recorded(unit, MeasuredEvent)


def _values(run: Run, clips: Sequence[Candidate]) -> dict[str, dict[str, list[float]]]:
    method = run.config.monitor.clip_metrics
    assert method != "off"
    by_prompt: dict[str, list[Candidate]] = {}
    for candidate in clips:
        by_prompt.setdefault(candidate.prompt_id, []).append(candidate)
    return pixels.grouped(
        {
            prompt: pixels.of_prompt(
                [run.clip(candidate.clip) for candidate in own],
                fps=[run.clip_fps(candidate.clip) for candidate in own],
                method=method,
            )
            for prompt, own in by_prompt.items()
        }
    )
