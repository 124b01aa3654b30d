"""The critic's accuracy: against labels, which triggers may read, and against the oracle.

Forced choice means the critic's margin between two clips, without a free answer. The accuracy on
pairs that the oracle orders is for people only; no trigger, stop or selection reads it.
"""

import math
import statistics
from collections.abc import Mapping, Sequence

from dualipo.config import Config
from dualipo.critic import judge
from dualipo.critic.asks import Item
from dualipo.critic.trust import forced_choice
from dualipo.critic.vlm import Vlm
from dualipo.event_parts import Accuracy
from dualipo.events import (
    CriticAccuracyEvent,
    HoldoutEvent,
    Recorded,
    WarmStartDpoEvent,
    WarmStartEvent,
    WarmStartSftEvent,
)
from dualipo.records import DIMENSIONS, Candidate, Dimension, Pair, Point, Verdict, Vote
from dualipo.rounds import asking, seed_labels, world_sources
from dualipo.rounds.bad_clips import intact
from dualipo.rounds.clip_units import ClipSet
from dualipo.rounds.clock import Clock
from dualipo.rounds.questions import PairQuestion, pair_questions
from dualipo.rounds.run import BASE_GENERATOR, BASE_ROUND, SFT, SHIPPED, WARM, Run
from dualipo.rounds.sampling import fixed_prompts, sample_set
from dualipo.rounds.versions import critic_of
from dualipo.store.ledger import Unit

ACCURACY_CLIPS = 4  # clips a prompt among which oracle-ordered pairs are looked for

# Against labels


def holdout_accuracy(run: Run, critic: str) -> float | None:
    """Return a version's accuracy on the seed's held-out labels; it is measured once."""
    for _, known in run.ledger.events(HoldoutEvent):
        if known.critic_version == critic:
            return known.accuracy
    accuracy = accuracy_on_holdout(run, critic)
    version = run.ledger.version("critic", critic)
    unit = Unit(version.round, version.attempt, f"holdout.{critic}")
    run.commit(unit, events=[HoldoutEvent(critic_version=critic, accuracy=accuracy)])
    return accuracy


def accuracy_on_holdout(run: Run, critic: Vlm | str) -> float | None:
    """Return the accuracy on held-out pairs, or on held-out clips where no pair is.

    Here and below a critic is a model in this process, or the id of a version.
    """
    pairs, points = seed_labels.held_out_labels(run)
    accuracy = label_accuracy(run, critic, pairs)
    return grade_accuracy(run, critic, points) if accuracy is None else accuracy


def label_accuracy(run: Run, critic: Vlm | str, pairs: Sequence[Pair]) -> float | None:
    """Return the share of labelled pairs whose better clip the critic leans to, without ties."""
    items: list[Item] = []
    verdicts: dict[tuple[str, Dimension], Verdict] = {}
    for pair in pairs:
        if pair.dimension != "overall":
            items.append(pair_item(pair, pair.dimension))
            verdicts[pair.pair_id, pair.dimension] = pair.verdict
    margins = asking.answers(run, forced_choice.margins, critic, items)
    return forced_choice.accuracy(margins, verdicts)


def grade_accuracy(run: Run, critic: Vlm | str, points: Sequence[Point]) -> float | None:
    """Return how often the critic's likeliest grade is the label's, over the clips it answers."""
    asked = [(p, p.dimension) for p in points if p.dimension != "overall"]
    items = [Item(p.point_id, p.prompt, (p.video,), (dimension,)) for p, dimension in asked]
    grades = asking.answers(run, forced_choice.grades, critic, items)
    answered = [(grades.get((p.point_id, dimension)), p.grade) for p, dimension in asked]
    return mean([float(given == label) for given, label in answered if given])


def pair_item(pair: Pair, dimension: Dimension) -> Item:
    """Return the item that asks the critic about a labelled pair."""
    return Item(pair.pair_id, pair.prompt, (pair.video_a, pair.video_b), (dimension,))


# Against the oracle's order, for people


def measure_warm_start(run: Run) -> None:
    """Measure the shipped, fine-tuned and warm critic on pairs that the oracle orders."""
    unit = Unit(BASE_ROUND, 0, "warm_accuracy")
    if run.is_done(unit) or run.config.monitor.num_accuracy_pairs == 0:
        return
    asked, verdicts = oracle_ordered_pairs(run)
    clock = Clock()
    shipped, sft, warm = (
        critic_accuracy(run, version, asked, verdicts) for version in (SHIPPED, SFT, WARM)
    )
    event = WarmStartEvent(
        shipped=shipped,
        sft=sft,
        warm=warm,
        annotators=_annotator_accuracies(run, asked, verdicts),
        num_traces=_recorded_before(run, "warm_start_sft", WarmStartSftEvent).num_traces,
        num_pairs=_recorded_before(run, "warm_start_dpo", WarmStartDpoEvent).num_pairs,
    )
    run.commit(unit, clock=clock, events=[event])


def measure_judge(run: Run, round: int, attempt: int) -> CriticAccuracyEvent:
    """Measure the critic that judged an attempt, once a version."""
    critic = critic_of(run, round, attempt)
    known = {
        event.critic_version: event.accuracy for _, event in run.ledger.events(CriticAccuracyEvent)
    }
    known[WARM] = _recorded_before(run, "warm_accuracy", WarmStartEvent).warm
    if critic not in known:
        known[critic] = critic_accuracy(run, critic, *oracle_ordered_pairs(run))
    return CriticAccuracyEvent(critic_version=critic, accuracy=known[critic])


def num_accuracy_prompts(config: Config) -> int:
    """Return how many prompts yield the pairs: about half of a prompt's 18 questions do."""
    return min(config.prompts.num_test_prompts, math.ceil(config.monitor.num_accuracy_pairs / 4))


def oracle_ordered_pairs(
    run: Run, *, version: str = BASE_GENERATOR
) -> tuple[list[PairQuestion], list[Verdict]]:
    """Return questions on a generator's test clips and the oracle's verdicts on them.

    Only pairs with a clear gap between the oracle's scores, equally many for each dimension.
    """
    settings = run.config.monitor
    clips = _clips_of(run, version)
    scores = dict(
        zip(
            [c.clip for c in clips],
            world_sources.oracle_scores([(c.caption, c.clip) for c in clips], clips=run.clip),
            strict=True,
        )
    )

    def gap(question: PairQuestion) -> float:
        dimension = question.dimension
        return scores[question.clip_a][dimension] - scores[question.clip_b][dimension]

    num_prompts = num_accuracy_prompts(run.config)
    num_questions = 3 * num_prompts * ACCURACY_CLIPS * (ACCURACY_CLIPS - 1) // 2
    questions = pair_questions(clips, num=num_questions, seed=run.seed("accuracy pairs"))
    apart = [question for question in questions if abs(gap(question)) >= settings.min_oracle_gap]
    per_dimension = settings.num_accuracy_pairs // len(DIMENSIONS)
    chosen = [
        question
        for dimension in DIMENSIONS
        for question in [q for q in apart if q.dimension == dimension][:per_dimension]
    ]
    return chosen, ["a" if gap(question) > 0 else "b" for question in chosen]


def items_of(asked: Sequence[PairQuestion]) -> list[Item]:
    """Return the items that ask a critic these questions, named by their places."""
    return [
        Item(str(n), prompt.caption, (clip_a, clip_b), (dimension,))
        for n, (prompt, clip_a, clip_b, dimension) in enumerate(asked)
    ]


def forced_hits(
    run: Run, critic: Vlm | str, asked: Sequence[PairQuestion], verdicts: Sequence[Verdict]
) -> list[float]:
    """Return 1 for each pair whose better clip the critic leans to, a half where it has no lean."""
    items = items_of(asked)
    margins = asking.answers(run, forced_choice.margins, critic, items)
    places = [(item.item_id, item.dimensions[0]) for item in items]
    return [
        forced_choice.accuracy(margins, {place: verdict}) or 0.0
        for place, verdict in zip(places, verdicts, strict=True)
    ]


def critic_accuracy(
    run: Run, critic: str, asked: Sequence[PairQuestion], verdicts: Sequence[Verdict]
) -> Accuracy:
    """Measure a critic by forced choice and in free form, where an abstention is wrong."""
    items = items_of(asked)
    expected = {(i.item_id, i.dimensions[0]): v for i, v in zip(items, verdicts, strict=True)}
    hits = dict(zip(expected, forced_hits(run, critic, asked, verdicts), strict=True))
    votes = asking.free_votes(run, critic, items)
    return Accuracy(
        forced_choice=mean(list(hits.values())),
        free_form=_free_form(votes, expected),
        num=len(expected),
        num_correct_forced=sum(hits.values()),
        abstain_rate=judge.abstain_rate(votes),
        by_dimension={
            d: mean([hit for (_, dimension), hit in hits.items() if dimension == d])
            for d in DIMENSIONS
        },
    )


def mean(values: Sequence[float]) -> float | None:
    """Return the mean; None without values."""
    return statistics.fmean(values) if values else None


def _clips_of(run: Run, version: str) -> list[Candidate]:
    """Sample a generator's clips of as many test prompts as yield the pairs."""
    prompts = fixed_prompts(run, "test")[: num_accuracy_prompts(run.config)]
    known = run.ledger.version("generator", version)
    clips = ClipSet(
        "accuracy", known.round, known.attempt, version, prompts, ACCURACY_CLIPS, texts_of="test"
    )
    return intact(run, sample_set(run, clips))


def _annotator_accuracies(
    run: Run, asked: Sequence[PairQuestion], verdicts: Sequence[Verdict]
) -> dict[str, float | None]:
    """Return how often each simulated annotator gives the oracle's verdict."""
    seed = run.seed("annotators")
    labels_by_name = world_sources.annotator_verdicts(asked, clips=run.clip, seed=seed)
    return {
        name: mean([float(label.verdict == v) for label, v in zip(labels, verdicts, strict=True)])
        for name, labels in labels_by_name.items()
    }


def _recorded_before(run: Run, stage: str, kind: type[Recorded]) -> Recorded:
    return run.recorded(Unit(BASE_ROUND, 0, stage), kind)


def _free_form(
    votes: Sequence[Vote], expected: Mapping[tuple[str, Dimension], Verdict]
) -> float | None:
    """Return the share of sampled answers that are right; an abstention or a tie is wrong."""
    return mean([float(v.outcome == expected[v.item, v.dimension]) for v in votes])
