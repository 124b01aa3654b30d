"""What a round is measured by: signals that triggers may read, and scores that only people read.

Signals: the critic's accuracy on the seed's held-out labels and on a small audit (fresh labels of
the monitor clips of the current generator, never trained on), its votes on the new generator's
monitor clips against the round before's, and the alignment's own numbers (METHOD.md 1, 5).
For people: the oracle's scores of test clips, a gallery, and the critic's accuracy on pairs that
the oracle orders. No trigger, stop or selection reads these.
"""

import math
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from dualipo.config import Config
from dualipo.critic import judge, voting
from dualipo.critic.asks import Item
from dualipo.critic.trust import forced_choice
from dualipo.critic.vlm import Vlm
from dualipo.evaluation.signals import (
    best_round,
    hacking_alarm,
    refresh_triggers,
    stop_reasons,
    trend,
)
from dualipo.event_json import to_json
from dualipo.event_parts import Accuracy, Signals
from dualipo.events import (
    AlignEvent,
    CriticAccuracyEvent,
    Event,
    GalleryEvent,
    HoldoutEvent,
    KeepBestEvent,
    MonitorEvent,
    PreferEvent,
    Recorded,
    ScoresEvent,
    WarmStartDpoEvent,
    WarmStartEvent,
    WarmStartSftEvent,
)
from dualipo.records import DIMENSIONS, Candidate, Dimension, Pair, Point, Prompt, Verdict, Vote
from dualipo.rounds import judging, sources, warming
from dualipo.rounds.clip_units import ClipSet
from dualipo.rounds.clock import Clock
from dualipo.rounds.run import BASE_ROUND, Run
from dualipo.rounds.sampling import fixed_prompts, generator_before, sample_set
from dualipo.store import atomic
from dualipo.store.ledger import Unit
from dualipo.tracking import read_metrics

Asked = tuple[Prompt, str, str, Dimension]  # caption, clip A, clip B, and what is asked

MONITOR_CLIPS = 2  # clips a monitor prompt: one pair to audit, the first against the round before
ACCURACY_CLIPS = 4  # clips a prompt among which oracle-ordered pairs are found


def sample_fixed(run: Run, name: str, round: int, attempt: int, version: str) -> list[Candidate]:
    """A version's clips of the test or monitor prompts, from the same noise in every round."""
    per_prompt = MONITOR_CLIPS if name == "monitor" else run.config.monitor.num_test_clips
    prompts = fixed_prompts(run, name)
    clips = ClipSet(name, round, attempt, version, prompts, per_prompt, texts_of=name)
    return sample_set(run, clips)


def measure_base(run: Run) -> None:
    """The base generator's monitor clips and test scores, and the warm start's accuracy."""
    measure_warm_start(run)
    sample_fixed(run, "monitor", BASE_ROUND, 0, "base")
    report_scores(run, BASE_ROUND, 0, "base")


def report_scores(run: Run, round: int, attempt: int, version: str) -> None:
    """For people: the oracle's scores of the version's test clips, and the gallery."""
    unit = Unit(round, attempt, "scores")
    if run.is_done(unit):
        return
    candidates = sample_fixed(run, "test", round, attempt, version)
    clock = Clock()
    asked = [(candidate.caption, candidate.clip) for candidate in candidates]
    scores = sources.oracle_scores(asked, clips=run.clip)
    firsts = [candidate for candidate in candidates if candidate.index == 0]
    shown = firsts[: run.config.monitor.num_gallery_prompts]
    events: list[Event] = [
        ScoresEvent(
            prompt_ids=[candidate.prompt_id for candidate in candidates],
            captions=[candidate.caption for candidate in candidates],
            parts={d: [score[d] for score in scores] for d in DIMENSIONS},
            total=[statistics.fmean(score.values()) for score in scores],
        ),
        GalleryEvent(captions=[c.caption for c in shown], clips=[c.clip for c in shown]),
    ]
    if run.config.monitor.num_accuracy_pairs:
        events.append(_accuracy_once(run, round, attempt))
    run.commit(unit, clock=clock, events=events)


def monitor(run: Run, round: int, attempt: int, version: str) -> Signals:
    """Measure the attempt's generator and critic; record signals, triggers and stop reasons."""
    unit = Unit(round, attempt, "monitor")
    if not run.is_done(unit):
        clips = sample_fixed(run, "monitor", round, attempt, version)
        critic = judging.critic_of(run, round, attempt)
        clock = Clock()
        signals = _signals(run, round, attempt, clips, critic)
        history = [*history_before(run, round), signals]
        event = MonitorEvent(
            signals=signals,
            triggers=refresh_triggers(history, run.config.refresh),
            stop=stop_reasons(history, run.config.refresh),
            winner_gap=_last_metrics(run, round, attempt).get("winner_gap"),
        )
        path = run.directory.attempt_path(round, attempt) / "signals.json"
        atomic.write_json(path, to_json(event))
        run.commit(unit, files=(path,), clock=clock, events=[event])
    return run.recorded(unit, MonitorEvent).signals


def stop_reasons_of(run: Run, round: int, attempt: int) -> list[str]:
    """Why the monitor would end the run here."""
    return run.recorded(Unit(round, attempt, "monitor"), MonitorEvent).stop


def keep_best(run: Run, round: int, attempt: int) -> None:
    """Where the run ends as the critic was hacked twice, the best round's generator serves.

    Its later ones stay in the run (METHOD.md 5; fault 65).
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
    """The signals of every earlier round's last attempt."""
    last: dict[int, Signals] = {}
    for where, monitored in run.ledger.events(MonitorEvent):
        if where.round < round:
            last[where.round] = monitored.signals
    return [last[key] for key in sorted(last)]


def _signals(
    run: Run, round: int, attempt: int, clips: Sequence[Candidate], critic: str
) -> Signals:
    curve = _curve(run, round, attempt)
    prefer = run.recorded(Unit(round, attempt, "prefer"), PreferEvent)
    return Signals(
        holdout_accuracy=holdout_accuracy(run, critic),
        audit_accuracy=_audit_accuracy(run, round, attempt, clips, critic),
        win_rate=_win_rate(run, round, attempt, clips, critic),
        mean_vote_share=prefer.mean_vote_share,
        implicit_accuracy=_mean([row["implicit_accuracy"] for row in curve[-10:]]),
        # A KTO step without a desirable clip has no winner.
        winner_gap_trend=trend([row["winner_gap"] for row in curve if "winner_gap" in row]),
    )


def _curve(run: Run, round: int, attempt: int) -> list[dict[str, Any]]:
    here = {"round": round, "attempt": attempt, "stage": "align"}
    rows = read_metrics(run.directory.metrics_path)
    return [row for row in rows if here.items() <= row.items()]


def _last_metrics(run: Run, round: int, attempt: int) -> dict[str, Any]:
    curve = _curve(run, round, attempt)
    return curve[-1] if curve else {}


def _mean(values: Sequence[float]) -> float | None:
    return statistics.fmean(values) if values else None


def holdout_accuracy(run: Run, critic: str) -> float | None:
    """Forced choice on the seed's held-out pairs; measured once a critic version."""
    for _, known in run.ledger.events(HoldoutEvent):
        if known.critic_version == critic:
            return known.accuracy
    accuracy = accuracy_on_holdout(run, run.critic(critic))
    where = run.ledger.version("critic", critic)
    unit = Unit(where.round, where.attempt, f"holdout.{critic}")
    run.commit(unit, events=[HoldoutEvent(critic_version=critic, accuracy=accuracy)])
    return accuracy


def accuracy_on_holdout(run: Run, critic: Vlm) -> float | None:
    """On the seed's labels that no critic was trained on: pairs, or points where there is none."""
    pairs, points = warming.seed_labels(run, held_out=True)
    accuracy = label_accuracy(run, critic, pairs)
    return grade_accuracy(run, critic, points) if accuracy is None else accuracy


def grade_accuracy(run: Run, critic: Vlm, points: Sequence[Point]) -> float | None:
    """How often the likeliest grade is the label's; clips without an answer are left out."""
    items = [Item(p.point_id, p.prompt, (p.video,), (p.dimension,)) for p in points]  # type: ignore[arg-type]
    found = forced_choice.grades(critic, items, clips=run.clip, settings=run.config.critic)
    graded = [(found.get((p.point_id, p.dimension)), p.grade) for p in points]  # type: ignore[arg-type]
    return _mean([float(given == grade) for given, grade in graded if given])


def label_accuracy(run: Run, critic: Vlm, pairs: Sequence[Pair]) -> float | None:
    """Forced choice against labels; ties are left out."""
    items = [
        Item(p.pair_id, p.prompt, (p.video_a, p.video_b), (p.dimension,))  # type: ignore[arg-type]
        for p in pairs
    ]
    verdicts: dict[tuple[str, Dimension], Verdict] = {
        (p.pair_id, p.dimension): p.verdict  # type: ignore[misc]
        for p in pairs
    }
    margins = forced_choice.margins(critic, items, clips=run.clip, settings=run.config.critic)
    return forced_choice.accuracy(margins, verdicts)


def _audit_accuracy(
    run: Run, round: int, attempt: int, clips: Sequence[Candidate], critic: str
) -> float | None:
    """The critic against fresh labels of the current generator's clips."""
    num = run.config.monitor.num_audit_labels
    if num == 0:
        return None
    seed = run.seed("audit", round, attempt)
    asked = warming.pair_questions(clips, num=num, seed=seed)
    labels = sources.label_pairs(asked, clips=run.clip, seed=seed)
    return label_accuracy(run, run.critic(critic), labels)


def _win_rate(
    run: Run, round: int, attempt: int, clips: Sequence[Candidate], critic: str
) -> float | None:
    """Share of monitor prompts won against the round before, by the critic; a tie is a half."""
    before = {(c.prompt_id, c.index): c for c in _monitor_clips_before(run, round)}
    firsts = [c for c in clips if c.index == 0 and (c.prompt_id, 0) in before]
    items = [
        Item(c.prompt_id, c.caption, (c.clip, before[c.prompt_id, 0].clip))
        for c in firsts
        if c.clip != before[c.prompt_id, 0].clip
    ]
    votes = judging.vote_on(run, Unit(round, attempt, "win_rate"), items, critic=critic)
    shares: dict[str, list[float]] = {}
    for (item, _), tally in voting.tallies(votes).items():
        points = {"a": 1.0, "b": 0.0, "tie": 0.5}
        if tally.majority in points:
            shares.setdefault(item, []).append(points[tally.majority])
    return _mean([statistics.fmean(share) for share in shares.values()])


def _monitor_clips_before(run: Run, round: int) -> list[Candidate]:
    version = run.ledger.version("generator", generator_before(run, round))
    return sample_fixed(run, "monitor", version.round, version.attempt, version.version_id)


def measure_warm_start(run: Run) -> None:
    """For people: shipped, fine-tuned and warm critic on pairs that the oracle orders."""
    unit = Unit(BASE_ROUND, 0, "warm_accuracy")
    if run.is_done(unit) or run.config.monitor.num_accuracy_pairs == 0:
        return
    asked, verdicts = oracle_ordered_pairs(run)
    clock = Clock()
    shipped, sft, warm = (
        critic_accuracy(run, version, asked, verdicts)
        for version in (warming.SHIPPED, warming.SFT, warming.WARM)
    )
    opinions = sources.annotator_verdicts(asked, clips=run.clip, seed=run.seed("annotators"))
    annotators = {
        name: _mean([float(label.verdict == v) for label, v in zip(labels, verdicts, strict=True)])
        for name, labels in opinions.items()
    }
    event = WarmStartEvent(
        shipped=shipped,
        sft=sft,
        warm=warm,
        annotators=annotators,
        num_traces=_recorded_before(run, "warm_start_sft", WarmStartSftEvent).num_traces,
        num_pairs=_recorded_before(run, "warm_start_dpo", WarmStartDpoEvent).num_pairs,
    )
    run.commit(unit, clock=clock, events=[event])


def _recorded_before(run: Run, stage: str, kind: type[Recorded]) -> Recorded:
    return run.recorded(Unit(BASE_ROUND, 0, stage), kind)


def _accuracy_once(run: Run, round: int, attempt: int) -> CriticAccuracyEvent:
    """Measure the serving critic on the oracle-ordered pairs, once a version."""
    critic = judging.critic_of(run, round, attempt)
    known = {
        event.critic_version: event.accuracy for _, event in run.ledger.events(CriticAccuracyEvent)
    }
    known[warming.WARM] = _recorded_before(run, "warm_accuracy", WarmStartEvent).warm
    if critic not in known:
        known[critic] = critic_accuracy(run, critic, *oracle_ordered_pairs(run))
    return CriticAccuracyEvent(critic_version=critic, accuracy=known[critic])


def accuracy_prompts(config: Config) -> int:
    """Prompts enough to find the pairs: of a prompt's 18 questions about half are apart."""
    return min(config.prompts.num_test_prompts, math.ceil(config.monitor.num_accuracy_pairs / 4))


def oracle_ordered_pairs(run: Run, *, version: str = "base") -> tuple[list[Asked], list[Verdict]]:
    """Pairs of a generator's clips of test prompts with an oracle gap, balanced over dimensions."""
    settings = run.config.monitor
    prompts = fixed_prompts(run, "test")[: accuracy_prompts(run.config)]
    made = run.ledger.version("generator", version)
    where = made.round, made.attempt
    wanted = ClipSet("accuracy", *where, version, prompts, ACCURACY_CLIPS, texts_of="test")
    clips = sample_set(run, wanted)
    scores = dict(
        zip(
            [c.clip for c in clips],
            sources.oracle_scores([(c.caption, c.clip) for c in clips], clips=run.clip),
            strict=True,
        )
    )
    every = 3 * len(prompts) * ACCURACY_CLIPS * (ACCURACY_CLIPS - 1) // 2
    found = warming.pair_questions(clips, num=every, seed=run.seed("accuracy pairs"))
    per_dimension = settings.num_accuracy_pairs // len(DIMENSIONS)
    chosen = []
    for dimension in DIMENSIONS:
        apart = [
            question
            for question in found
            if question[3] == dimension
            and abs(scores[question[1]][dimension] - scores[question[2]][dimension])
            >= settings.min_oracle_gap
        ]
        chosen += apart[:per_dimension]
    verdicts: list[Verdict] = [
        "a" if scores[clip_a][dimension] > scores[clip_b][dimension] else "b"
        for _, clip_a, clip_b, dimension in chosen
    ]
    return chosen, verdicts


def forced_hits(
    run: Run, critic: Vlm, asked: Sequence[Asked], verdicts: Sequence[Verdict]
) -> list[float]:
    """Of each pair: 1 where the critic leans to the better clip, a half where it does not lean."""
    items = _items(asked)
    margins = forced_choice.margins(critic, items, clips=run.clip, settings=run.config.critic)
    places = [(item.item_id, item.dimensions[0]) for item in items]
    return [
        forced_choice.accuracy(margins, {place: verdict}) or 0.0
        for place, verdict in zip(places, verdicts, strict=True)
    ]


def critic_accuracy(
    run: Run, critic: str, asked: Sequence[Asked], verdicts: Sequence[Verdict]
) -> Accuracy:
    """Forced choice, and free form with abstention counted as wrong."""
    loaded, items = run.critic(critic), _items(asked)
    expected = {(i.item_id, i.dimensions[0]): v for i, v in zip(items, verdicts, strict=True)}
    hits = dict(zip(expected, forced_hits(run, loaded, asked, verdicts), strict=True))
    once = run.config.critic.model_copy(update={"num_votes": 2, "max_reasks": 0})
    votes = judge.confirm(
        loaded,
        items,
        clips=run.clip,
        settings=once,
        seed_of=judging.seed_of(run, "accuracy", critic),
    )
    return Accuracy(
        forced_choice=_mean(list(hits.values())),
        free_form=_free_form(votes, expected),
        num=len(expected),
        num_correct_forced=sum(hits.values()),
        abstain_rate=judge.abstain_rate(votes),
        by_dimension={
            d: _mean([hit for (_, dimension), hit in hits.items() if dimension == d])
            for d in DIMENSIONS
        },
    )


def _items(asked: Sequence[Asked]) -> list[Item]:
    return [
        Item(str(n), prompt.caption, (clip_a, clip_b), (dimension,))
        for n, (prompt, clip_a, clip_b, dimension) in enumerate(asked)
    ]


def _free_form(
    votes: Sequence[Vote], expected: Mapping[tuple[str, Dimension], Verdict]
) -> float | None:
    """Share of sampled answers that are right; an abstention or a tie is wrong."""
    return _mean([float(v.outcome == expected[v.item, v.dimension]) for v in votes])
