"""The measurements of a round: signals that triggers may read, and scores that only people read.

Signals (METHOD.md 1, 5): the critic's accuracy on the seed's held-out labels and on a small audit,
which is fresh labels of the monitor clips of the current generator, never trained on; its votes on
the new generator's monitor clips against the round before's; and the alignment's own numbers.
For people: the oracle's scores of test clips, a gallery, and the critic's accuracy on pairs that
the oracle orders. No trigger, stop or selection reads these.
"""

import statistics
from collections.abc import Sequence
from dataclasses import replace

from dualipo.critic import voting
from dualipo.critic.asks import Item
from dualipo.evaluation import clip_changes, measured
from dualipo.evaluation.signals import (
    best_round,
    hacking_alarm,
    refresh_triggers,
    stop_reasons,
)
from dualipo.event_json import to_json
from dualipo.event_parts import Signals
from dualipo.events import (
    AlignEvent,
    CurveEvent,
    Event,
    GalleryEvent,
    KeepBestEvent,
    MeasuredEvent,
    MonitorEvent,
    PreferEvent,
    ScoresEvent,
)
from dualipo.records import DIMENSIONS, Candidate
from dualipo.rounds import (
    accuracy,
    aligning,
    audit,
    fixed_clips,
    judging,
    pixel_metrics,
    suite,
    world_sources,
    world_suite,
)
from dualipo.rounds.accuracy import mean
from dualipo.rounds.clock import Clock
from dualipo.rounds.run import BASE_GENERATOR, BASE_ROUND, Run
from dualipo.rounds.versions import critic_of, generator_before
from dualipo.store import atomic
from dualipo.store.ledger import Unit


def measure_base(run: Run) -> None:
    """Measure what stands before round 0: the warm start, and the base generator's clips."""
    accuracy.measure_warm_start(run)
    clips = fixed_clips.sample_fixed(run, "monitor", BASE_ROUND, 0, BASE_GENERATOR)
    pixel_metrics.measure(run, BASE_ROUND, 0, BASE_GENERATOR, clips)
    suite.measure_round(run, BASE_ROUND, 0, BASE_GENERATOR)
    world_suite.measure(run, BASE_ROUND, 0, BASE_GENERATOR, clips)
    report_scores(run, BASE_ROUND, 0, BASE_GENERATOR)


def report_scores(run: Run, round: int, attempt: int, version: str) -> None:
    """Record for people the oracle's scores of the version's test clips, and a gallery of them.

    The oracle knows the embedded world's captions only: clips of a user's own have no scores.
    """
    unit = Unit(round, attempt, "scores")
    if run.is_done(unit):
        return
    candidates = fixed_clips.sample_fixed(run, "test", round, attempt, version)
    clock = Clock()
    measured = candidates if run.config.prompts.source == "world" else []
    asked = [(candidate.caption, candidate.clip) for candidate in measured]
    scores = world_sources.oracle_scores(asked, clips=run.clip)
    firsts = [candidate for candidate in candidates if candidate.index == 0]
    shown = firsts[: run.config.monitor.num_gallery_prompts]
    events: list[Event] = [
        ScoresEvent(
            prompt_ids=[candidate.prompt_id for candidate in measured],
            captions=[candidate.caption for candidate in measured],
            parts={d: [score[d] for score in scores] for d in DIMENSIONS},
            total=[statistics.fmean(score.values()) for score in scores],
        ),
        GalleryEvent(captions=[c.caption for c in shown], clips=[c.clip for c in shown]),
    ]
    if run.config.monitor.num_accuracy_pairs:
        events.append(accuracy.measure_judge(run, round, attempt))
    run.commit(unit, clock=clock, events=events)


def monitor(run: Run, round: int, attempt: int, version: str) -> Signals:
    """Measure the attempt's generator and critic; record signals, triggers and stop reasons."""
    unit = Unit(round, attempt, "monitor")
    if not run.is_done(unit):
        clips = fixed_clips.sample_fixed(run, "monitor", round, attempt, version)
        critic = critic_of(run, round, attempt)
        clock = Clock()
        signals = _signals(run, round, attempt, version, clips, critic)
        history = [*history_before(run, round), signals]
        aligned = run.recorded(Unit(round, attempt, "align"), AlignEvent)
        event = MonitorEvent(
            signals=signals,
            triggers=refresh_triggers(history, run.config.refresh),
            stop=stop_reasons(history, run.config.refresh),
            winner_gap=aligned.winner_gap,
        )
        path = run.directory.attempt_path(round, attempt) / "signals.json"
        atomic.write_json(path, to_json(event))
        run.commit(unit, files=(path,), clock=clock, events=[event])
    return run.recorded(unit, MonitorEvent).signals


def stop_reasons_of(run: Run, round: int, attempt: int) -> list[str]:
    """Return why the monitor would end the run after this attempt."""
    return run.recorded(Unit(round, attempt, "monitor"), MonitorEvent).stop


def keep_best(run: Run, round: int, attempt: int) -> None:
    """Let the best round's generator serve where the critic was hacked twice in a row.

    The later generators stay in the run (METHOD.md 5; fault 65).
    """
    unit = Unit(round, attempt, "keep_best")
    now = run.recorded(Unit(round, attempt, "monitor"), MonitorEvent).signals
    history = [*history_before(run, round), now]
    if run.is_done(unit) or hacking_alarm(history) < 2:
        return
    best = best_round(history)
    version = {
        where.round: aligned.generator_version for where, aligned in run.ledger.events(AlignEvent)
    }[best]
    event = KeepBestEvent(round=best, generator_version=version)
    run.commit(unit, events=[event], heads={"generator": version})
    run.progress.say(f"the generator of round {best}, {version}, serves: later ones gained nothing")


def history_before(run: Run, round: int) -> list[Signals]:
    """Return the signals of every earlier round's last attempt."""
    last: dict[int, Signals] = {}
    for unit, monitored in run.ledger.events(MonitorEvent):
        if unit.round < round:
            last[unit.round] = monitored.signals
    return [last[key] for key in sorted(last)]


def _signals(
    run: Run, round: int, attempt: int, version: str, clips: Sequence[Candidate], critic: str
) -> Signals:
    curve = _curve(run, round, attempt)
    prefer = run.recorded(Unit(round, attempt, "prefer"), PreferEvent)
    holdout = accuracy.holdout_accuracy(run, critic)
    on_audit = _audit_accuracy(run, round, attempt, clips, critic)
    wins = _wins(run, round, attempt, clips, critic)
    signals = Signals(
        holdout_accuracy=holdout,
        audit_accuracy=on_audit,
        win_rate=mean(wins),
        num_win_rate_prompts=len(wins) or None,
        mean_vote_share=prefer.mean_vote_share,
        implicit_accuracy=curve.implicit_accuracy,
        winner_gap_trend=curve.winner_gap_trend,
        evaluation_total=_evaluation_total(run, round, attempt, version, clips),
    )
    looks = pixel_metrics.measure(run, round, attempt, version, clips)
    drop = clip_changes.dynamics_drop(looks, BASE_GENERATOR) if looks else None
    return replace(signals, dynamics_drop=drop)


def _evaluation_total(
    run: Run, round: int, attempt: int, version: str, clips: Sequence[Candidate]
) -> float | None:
    """Return a suite's total of a version; the recipe's own suite measures it first."""
    suite.measure_round(run, round, attempt, version)
    world_suite.measure(run, round, attempt, version, clips)
    events = [event for _, event in run.ledger.events(MeasuredEvent)]
    return measured.evaluation_total(events, version)


def _curve(run: Run, round: int, attempt: int) -> CurveEvent:
    """Return what the attempt's alignment committed of its curve."""
    unit = Unit(round, attempt, "align")
    kept = run.ledger.event(unit, CurveEvent)
    return kept or aligning.curve_of(aligning.logged_steps(run, unit))  # an older dualipo kept none


def _audit_accuracy(
    run: Run, round: int, attempt: int, clips: Sequence[Candidate], critic: str
) -> float | None:
    """Return the critic's accuracy on fresh labels of the current generator's clips."""
    labels = audit.measuring(run, audit.labels(run, round, attempt, clips))
    return accuracy.label_accuracy(run, critic, labels) if labels else None


def _wins(
    run: Run, round: int, attempt: int, clips: Sequence[Candidate], critic: str
) -> list[float]:
    """Return how far each monitor prompt is won against the round before, from 0 to 1.

    It is the mean over dimensions, in which a tie is a half. The critic votes on the first clip of
    each prompt. Unchanged clips and prompts without an answer are left out.
    """
    before = {(c.prompt_id, c.index): c for c in _monitor_clips_before(run, round)}
    firsts = [c for c in clips if c.index == 0 and (c.prompt_id, 0) in before]
    names = run.config.critic.questions.names
    items = [
        Item(c.prompt_id, c.caption, (c.clip, before[c.prompt_id, 0].clip), names)
        for c in firsts
        if c.clip != before[c.prompt_id, 0].clip
    ]
    votes = judging.vote_on(run, Unit(round, attempt, "win_rate"), items, critic=critic)
    shares: dict[str, list[float]] = {}
    for (item, _), tally in voting.tallies(votes).items():
        points = {"a": 1.0, "b": 0.0, "tie": 0.5}
        if tally.majority in points:
            shares.setdefault(item, []).append(points[tally.majority])
    return [statistics.fmean(share) for share in shares.values()]


def _monitor_clips_before(run: Run, round: int) -> list[Candidate]:
    return fixed_clips.of_version(run, "monitor", generator_before(run, round))
