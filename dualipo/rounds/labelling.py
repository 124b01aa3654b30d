"""An attempt's preferences: pairs for Diffusion-DPO, labelled clips for Diffusion-KTO.

Pairs are built by `judging` from confirmed contests. Points need the scores' votes alone
(METHOD.md 4.3): no pairwise question is asked.
"""

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from dualipo.events import PreferEvent
from dualipo.preferences import points as labels
from dualipo.preferences.points import BuiltPoints, Labelled
from dualipo.records import Candidate, Pair, Point
from dualipo.rounds import judging
from dualipo.rounds.run import Run
from dualipo.store import tables
from dualipo.store.ledger import Unit


def prefer(
    run: Run, round: int, attempt: int, candidates: Sequence[Candidate]
) -> list[Pair] | list[Point]:
    """Publish what the attempt's generator learns from, by the recipe's `align.loss_type`."""
    if run.config.align.loss_type == "dpo":
        return judging.prefer(run, round, attempt, candidates)
    return prefer_points(run, round, attempt, candidates)


def prefer_points(
    run: Run, round: int, attempt: int, candidates: Sequence[Candidate]
) -> list[Point]:
    """Publish the attempt's labelled clips; `point_id` names the candidate."""
    unit = Unit(round, attempt, "prefer")
    path = run.directory.attempt_path(round, attempt) / "preferences.parquet"
    if not run.is_done(unit):
        votes = judging.read_votes(run, Unit(round, attempt, "score"))
        by_id = {candidate.candidate_id: candidate for candidate in candidates}
        found = labels.opinions(votes)
        graded = {name: found.get(name, {}) for name in by_id}
        built = _build(run, unit, candidates, graded)
        kept = [_point(run, unit, one, by_id[one.candidate_id]) for one in built.kept]
        tables.write_records(path, kept, record_type=Point)
        score = judging.score_event(run, candidates, votes)
        events = [_event(built, graded), score]
        run.commit(unit, files=(path,), events=events)
    return tables.read_records(path, record_type=Point)


def _build(
    run: Run, unit: Unit, candidates: Sequence[Candidate], graded: Mapping[str, Any]
) -> BuiltPoints:
    if run.config.align.kto_labels == "grades":
        return labels.build_points(graded)
    contests, _ = judging.choose_contests(run, unit.round, unit.attempt, candidates)
    percentile = run.config.critic.margin_percentile
    return labels.build_extremes(contests, graded, margin_percentile=percentile)


def _point(run: Run, unit: Unit, labelled: Labelled, candidate: Candidate) -> Point:
    desirable = labelled.desirable
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
        annotator_or_critic_version=judging.critic_of(run, unit.round, unit.attempt),
        certainty=labelled.certainty,
        round=unit.round,
    )


def _event(built: BuiltPoints, graded: Mapping[str, Mapping[Any, Any]]) -> PreferEvent:
    """Summarise the labelled clips for the report: how many were kept, dropped, and why."""
    shares = [one.share for by_dimension in graded.values() for one in by_dimension.values()]
    return PreferEvent(
        of="clips",
        num_prompts=len(graded),
        kept=len(built.kept),
        num_desirable=sum(label.desirable for label in built.kept),
        dropped={str(why): num for why, num in built.dropped.items()},
        certainty=[label.certainty for label in built.kept],
        mean_vote_share=statistics.fmean(shares) if shares else None,
    )
