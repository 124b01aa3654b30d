"""An attempt's preferences: pairs for Diffusion-DPO, labelled clips for Diffusion-KTO.

A pair is a contest that the pairwise votes confirmed (METHOD.md 3.4). A labelled clip needs the
pointwise votes alone (METHOD.md 4.3). Whatever is dropped is counted with its reason.

Artifact: `preferences.parquet`, `Pair` or `Point` records.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from dualipo.config import Questions
from dualipo.critic import voting
from dualipo.critic.voting import Tally
from dualipo.errors import MediaError
from dualipo.event_parts import CategoryScore, Words
from dualipo.events import ConfirmEvent, PreferEvent, ScoreEvent, WordsEvent
from dualipo.preferences import build
from dualipo.preferences import points as labels
from dualipo.preferences.build import BAD_CLIPS, BuiltPairs, Confirmation, Contest
from dualipo.preferences.points import BuiltPoints, Labelled, Opinion
from dualipo.records import Candidate, Dimension, Order, Pair, Point, Vote, pair_id, pairs_by_id
from dualipo.rounds import sampling, vote_reading
from dualipo.rounds.caption_trial import turned_items
from dualipo.rounds.contests import Contests
from dualipo.rounds.judging import contests_of, each_scores
from dualipo.rounds.run import Run
from dualipo.rounds.versions import critic_of
from dualipo.store import clips as clip_files
from dualipo.store import tables
from dualipo.store.clips import ClipStore
from dualipo.store.ledger import Unit

NUM_WORDS = 4  # pairs of a round whose reasoning the report shows
MAX_ALIKE = 0.2  # part of the prompts without contrast above which people are told (fault 24)

TalliesByContest = Mapping[str, Mapping[Dimension, Tally]]


@dataclass(frozen=True)
class PreferredPair:
    """A preference and the two candidates that it is about."""

    pair: Pair
    winner: Candidate
    loser: Candidate


def prefer(
    run: Run, round: int, attempt: int, candidates: Sequence[Candidate]
) -> list[PreferredPair] | list[Point]:
    """Publish what the attempt's generator learns from, by the recipe's `align.loss_type`.

    Of a pair, A won and B lost. The `point_id` of a labelled clip is its candidate's id.
    """
    unit = Unit(round, attempt, "prefer")
    path = run.directory.attempt_path(round, attempt) / "preferences.parquet"
    makes_pairs = run.config.align.loss_type == "dpo"
    if not run.is_done(unit):
        publish = _publish_pairs if makes_pairs else _publish_points
        publish(run, unit, candidates, path)
    if not makes_pairs:
        return run.records(path, Point)
    by_id = pairs_by_id(candidates)
    pairs = run.records(path, Pair)
    return [PreferredPair(pair, *by_id[pair.pair_id]) for pair in pairs]


def count_short(store: ClipStore, clips: Iterable[str], *, num_wanted: int) -> int:
    """Count the clips with fewer frames than are wanted; decode those whose header does not say.

    A clip that has gone bad is not counted: it is met where it is looked at.
    """
    num_short = 0
    for clip in clips:
        with suppress(MediaError):
            length = clip_files.probe(store.path(clip)).num_frames or len(store.read(clip))
            num_short += length < num_wanted
    return num_short


# Pairs


def _publish_pairs(run: Run, unit: Unit, candidates: Sequence[Candidate], path: Path) -> None:
    all_contests = contests_of(run, unit.round, unit.attempt, candidates)
    tallies = _tallies(run, unit, all_contests)
    contests = _voted(all_contests, tallies)
    settings = run.config.critic
    built = build.build_pairs(
        contests.chosen,
        {c.contest_id: confirmation(tallies[c.contest_id]) for c in contests.chosen},
        least_share=settings.confirm_vote_share,
        dimension_slack=settings.dimension_slack,
        margin_percentile=settings.margin_percentile,
        turned=turned_items(run, unit.round, unit.attempt),
    )
    clip_of = {c.candidate_id: c.clip for c in candidates}
    pairs = [
        _pair(run, unit, kept, tallies[kept.contest.contest_id], clip_of) for kept in built.kept
    ]
    tables.write_records(path, pairs, record_type=Pair)
    num_prompts = len({c.prompt_id for c in candidates})
    confirmed = _confirm_event(run, unit, tallies)
    events = [
        _pairs_event(built, contests, num_prompts, confirmed.mean_vote_share),
        _score_event(run, unit, candidates),
        confirmed,
        WordsEvent(pairs=_words(run, unit, contests, tallies, clip_of)),
    ]
    run.commit(unit, files=(path,), events=events)
    _warn_if_alike(run, contests.dropped["no contrast"], num_prompts)


def _voted(contests: Contests, tallies: TalliesByContest) -> Contests:
    """Return the contests that were voted on; of any other a clip went bad before that."""
    voted = [contest for contest in contests.chosen if contest.contest_id in tallies]
    num_lost = len(contests.chosen) - len(voted)
    return Contests(voted, contests.dropped + Counter({BAD_CLIPS: num_lost}))


def _tallies(run: Run, unit: Unit, contests: Contests) -> TalliesByContest:
    """Count the votes on every contest that was voted on, the chosen ones first.

    One of whose clips went bad after the votes is no longer chosen.
    """
    critic = critic_of(run, unit.round, unit.attempt)
    voted = run.ledger.voted_items(unit.round, unit.attempt, "pair", critic)
    chosen = [contest.contest_id for contest in contests.chosen]
    items = [*chosen, *sorted(voted - set(chosen))]
    stage = replace(unit, stage="confirm")
    tallies: dict[str, dict[Dimension, Tally]] = {}
    for votes in vote_reading.votes_on(run, stage, items, "pair"):
        for (contest_id, dimension), tally in voting.tallies(votes).items():
            tallies.setdefault(contest_id, {})[dimension] = tally
    return tallies


def confirmation(tallies: Mapping[Dimension, Tally]) -> Confirmation:
    """Return what the votes on a contest say, by dimension."""
    return Confirmation(
        verdicts={dimension: tally.majority for dimension, tally in tallies.items()},
        shares={dimension: tally.share for dimension, tally in tallies.items()},
        certainties={dimension: tally.certainty for dimension, tally in tallies.items()},
    )


def _pair(
    run: Run,
    unit: Unit,
    kept: build.Kept,
    tallies: Mapping[Dimension, Tally],
    clip_of: Mapping[str, str],
) -> Pair:
    """Return a kept contest's record; the baseline `coin_flip` draws the winner instead."""
    contest, counts = kept.contest, tallies.values()
    winner, loser = contest.top, contest.bottom
    votes_a, votes_b = sum(tally.a for tally in counts), sum(tally.b for tally in counts)
    coin = run.seed("coin", unit.round, contest.prompt.prompt_id) % 2
    if run.config.verdicts == "coin_flip" and coin:
        winner, loser, votes_a, votes_b = loser, winner, votes_b, votes_a
    return Pair(
        pair_id=pair_id(winner, loser),
        prompt_id=contest.prompt.prompt_id,
        prompt=contest.prompt.caption,
        video_a=clip_of[winner],
        video_b=clip_of[loser],
        dimension="overall",
        verdict="a",
        source="critic",
        annotator_or_critic_version=critic_of(run, unit.round, unit.attempt),
        certainty=kept.certainty,
        votes_a=votes_a,
        votes_b=votes_b,
        votes_tie=sum(tally.tie for tally in counts),
        votes_abstain=sum(tally.abstain for tally in counts),
        round=unit.round,
    )


def _warn_if_alike(run: Run, num_alike: int, num_prompts: int) -> None:
    if num_alike > MAX_ALIKE * num_prompts:
        run.progress.say(
            f"{num_alike} of {num_prompts} prompts have no contrast: their clips are the same, or "
            "the critic scores them alike. Look at the clips; raise generator.num_candidates or "
            "critic.num_score_paths."
        )


# Labelled clips


def _publish_points(run: Run, unit: Unit, candidates: Sequence[Candidate], path: Path) -> None:
    opinions = _opinions(run, unit, candidates)
    lost = run.bad_clips - {c.clip for c in candidates if c.candidate_id in opinions}
    by_id = {c.candidate_id: c for c in candidates if c.clip not in lost}
    graded = {candidate_id: opinions.get(candidate_id, {}) for candidate_id in by_id}
    built = _build_points(run, unit, candidates, graded)
    points = [_point(run, unit, label, by_id[label.candidate_id]) for label in built.kept]
    tables.write_records(path, points, record_type=Point)
    num_lost = len(candidates) - len(by_id)
    events = [_points_event(built, graded, num_lost), _score_event(run, unit, candidates)]
    run.commit(unit, files=(path,), events=events)


def _opinions(
    run: Run, unit: Unit, candidates: Sequence[Candidate]
) -> dict[str, dict[Dimension, Opinion]]:
    """Return the majority's opinion by candidate and dimension."""
    ids, stage = [c.candidate_id for c in candidates], replace(unit, stage="score")
    opinions: dict[str, dict[Dimension, Opinion]] = {}
    for votes in vote_reading.votes_on(run, stage, ids, "point"):
        opinions |= labels.opinions(votes)
    return opinions


def _build_points(
    run: Run,
    unit: Unit,
    candidates: Sequence[Candidate],
    graded: Mapping[str, Mapping[Dimension, Opinion]],
) -> BuiltPoints:
    turned = turned_items(run, unit.round, unit.attempt)
    if run.config.align.kto_labels == "grades":
        names = run.config.critic.questions.names
        return labels.build_points(graded, dimensions=names, turned=turned)
    contests = contests_of(run, unit.round, unit.attempt, candidates)
    percentile = run.config.critic.margin_percentile
    return labels.build_extremes(
        contests.chosen, graded, margin_percentile=percentile, turned=turned
    )


def _point(run: Run, unit: Unit, label: Labelled, candidate: Candidate) -> Point:
    """Return a labelled clip's record; the baseline `coin_flip` draws the label instead."""
    desirable = label.desirable
    if run.config.verdicts == "coin_flip":
        desirable = bool(run.seed("coin", unit.round, candidate.candidate_id) % 2)
    return Point(
        point_id=candidate.candidate_id,
        prompt_id=candidate.prompt_id,
        prompt=candidate.caption,
        video=candidate.clip,
        dimension="overall",
        grade="good" if desirable else "bad",
        source="critic",
        annotator_or_critic_version=critic_of(run, unit.round, unit.attempt),
        certainty=label.certainty,
        round=unit.round,
    )


# What the report shows of them


def _pairs_event(
    built: BuiltPairs, contests: Contests, num_prompts: int, mean_vote_share: float | None
) -> PreferEvent:
    dropped = Counter(built.dropped) + contests.dropped
    return PreferEvent(
        num_prompts=num_prompts,
        kept=len(built.kept),
        dropped={str(reason): num for reason, num in dropped.items()},
        certainty=[kept.certainty for kept in built.kept],
        mean_vote_share=mean_vote_share,
    )


def _points_event(
    built: BuiltPoints, graded: Mapping[str, Mapping[Dimension, Opinion]], num_lost: int
) -> PreferEvent:
    """Summarise the labelled clips: how many were kept, and how many dropped for which reason."""
    shares = [opinion.share for opinions in graded.values() for opinion in opinions.values()]
    return PreferEvent(
        of="clips",
        num_prompts=len(graded) + num_lost,
        kept=len(built.kept),
        num_desirable=sum(label.desirable for label in built.kept),
        dropped={str(reason): num for reason, num in built.dropped.items()}
        | ({BAD_CLIPS: num_lost} if num_lost else {}),
        certainty=[label.certainty for label in built.kept],
        mean_vote_share=_mean(shares),
    )


def _score_event(run: Run, unit: Unit, candidates: Sequence[Candidate]) -> ScoreEvent:
    """Summarise the pointwise votes; count clips shorter than they should be (fault 21)."""
    settings = run.config.critic
    clips = {candidate.clip for candidate in candidates}
    num_wanted = min(settings.max_frames, run.config.generator.num_frames)
    counts = vote_reading.count_votes(run, unit, "point")
    return ScoreEvent(
        num_votes=counts.num,
        abstain_rate=counts.abstain_rate,
        position_bias=counts.position_bias,
        num_short=count_short(run.clip_store, clips, num_wanted=num_wanted),
        short_video=settings.short_video,
        categories=_category_scores(run, unit, candidates),
    )


def _category_scores(
    run: Run, unit: Unit, candidates: Sequence[Candidate]
) -> dict[str, CategoryScore] | None:
    """Return the critic's mean score by category; None where the captions have no categories."""
    if not candidates:
        return None
    prompts = sampling.choose_prompts(run, candidates[0].round)
    categories = {prompt.prompt_id: prompt.category for prompt in prompts}
    if not any(categories.values()):
        return None
    prompt_ids = {candidate.candidate_id: candidate.prompt_id for candidate in candidates}
    scores: dict[str, list[float]] = {category: [] for category in sorted({*categories.values()})}
    for _, expected in each_scores(run, unit.round, unit.attempt, candidates):
        for (candidate_id, _), score in expected.items():
            scores[categories[prompt_ids[candidate_id]]].append(score)
    numbers = Counter(categories.values())
    return {
        category: CategoryScore(num_prompts=numbers[category], mean=_mean(own))
        for category, own in scores.items()
    }


def _confirm_event(run: Run, unit: Unit, by_contest: TalliesByContest) -> ConfirmEvent:
    """Summarise the pairwise votes: how many could be read, and how much they agree."""
    counts = vote_reading.count_votes(run, unit, "pair")
    tallies = [tally for own in by_contest.values() for tally in own.values()]
    return ConfirmEvent(
        num_votes=counts.num,
        abstain_rate=counts.abstain_rate,
        position_bias=counts.position_bias,
        mean_vote_share=_mean([tally.share for tally in tallies]),
        mean_entropy=_mean([tally.entropy for tally in tallies]),
        mean_order_agreement=_mean([tally.order_agreement for tally in tallies]),
    )


def _mean(numbers: Sequence[float]) -> float | None:
    return sum(numbers) / len(numbers) if numbers else None


def _words(
    run: Run,
    unit: Unit,
    contests: Contests,
    tallies: TalliesByContest,
    clip_of: Mapping[str, str],
) -> list[Words]:
    """Return a few contests with the critic's reasoning about one dimension each."""
    questions, first = run.config.critic.questions, contests.chosen[:NUM_WORDS]
    stage, ids = replace(unit, stage="confirm"), [contest.contest_id for contest in first]
    by_place = voting.grouped(vote_reading.with_reasoning(run, stage, ids))
    chosen = []
    for n, contest in enumerate(first):
        dimensions = [dimension for item, dimension in by_place if item == contest.contest_id]
        if not dimensions:
            continue
        dimension = dimensions[n % len(dimensions)]
        cast = by_place[contest.contest_id, dimension]
        tally = tallies[contest.contest_id][dimension]
        chosen.append(_words_about(contest, dimension, tally, cast, clip_of, questions))
    return chosen


def _words_about(
    contest: Contest,
    dimension: Dimension,
    tally: Tally,
    votes: Sequence[Vote],
    clip_of: Mapping[str, str],
    questions: Questions,
) -> Words:
    """Return a path of reasoning of each order; in the first the best clip was shown as A."""
    by_order = {cast.order: cast.reasoning for cast in reversed(votes)}
    orders: list[Order] = [order for order in ("ab", "ba") if order in by_order]
    return Words(
        caption=contest.prompt.caption,
        clip_a=clip_of[contest.top],
        clip_b=clip_of[contest.bottom],
        dimension=dimension,
        question=questions.question("pair", dimension),
        verdict=tally.majority,
        certainty=tally.certainty,
        reasonings=[by_order[order] for order in orders],
        votes=dict(Counter(cast.outcome for cast in votes)),
        orders=orders,
    )
