"""The critic at work in a round: it scores every candidate, then confirms the best over the worst.

    score    every clip alone         -> votes "score"   -> expected scores -> contests
    confirm  each contest, both orders -> votes "confirm" -> unit "judged"

Votes are committed unit by unit and kept with their reasoning in parquet shards, from which they
are read. The checks that stop a stage (faults 27, 31) look at all of its votes at once.
"""

import itertools
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

from dualipo.critic import judge
from dualipo.critic.asks import Item, SeedOf
from dualipo.critic.models.backends import Judge
from dualipo.critic.models.served import ServedCritic
from dualipo.events import ScoreScaleEvent, ServedEvent
from dualipo.records import DIMENSIONS, Candidate, Dimension, Order, Vote
from dualipo.rounds import caption_trial, contests
from dualipo.rounds.clock import Clock
from dualipo.rounds.contests import Contests
from dualipo.rounds.run import BASE_ROUND, Run
from dualipo.rounds.versions import critic_of
from dualipo.store import tables
from dualipo.store.ledger import Unit

Kind = Literal["point", "pair"]


def score(run: Run, round: int, attempt: int, candidates: Sequence[Candidate]) -> None:
    """Vote on every candidate alone; an attempt that was judged is left as it is."""
    if run.is_done(Unit(round, attempt, "judged")):
        return
    _keep_scale(run, round, attempt, candidates)
    votes = vote_on(
        run,
        Unit(round, attempt, "score"),
        _point_items(candidates),
        critic=critic_of(run, round, attempt),
    )
    judge.require_readable(votes, settings=run.config.critic)
    judge.require_opinion(votes, settings=run.config.critic)


def confirm(run: Run, round: int, attempt: int, candidates: Sequence[Candidate]) -> None:
    """Vote on each prompt's best against its worst, in both orders; KTO asks for no such votes."""
    judged = Unit(round, attempt, "judged")
    if run.is_done(judged):
        return
    if run.config.align.loss_type == "kto":
        items = _point_items(candidates)
        votes = read_votes(run, Unit(round, attempt, "score"))
    else:
        items = contests.items_of(contests_of(run, round, attempt, candidates), candidates)
        critic = critic_of(run, round, attempt)
        votes = vote_on(run, Unit(round, attempt, "confirm"), items, critic=critic)
        judge.require_readable(votes, settings=run.config.critic)
        judge.require_opinion(votes, settings=run.config.critic)
    neutral = seed_of(run, "neutral caption", round, attempt)
    run.commit(
        judged, events=caption_trial.events(run, judged, shown(run, items), votes, seed_of=neutral)
    )


def contests_of(run: Run, round: int, attempt: int, candidates: Sequence[Candidate]) -> Contests:
    """Return an attempt's contests. They are chosen once and kept while the run is open."""
    place = (round, attempt)
    if place not in run.contests:
        votes = read_votes(run, Unit(round, attempt, "score"))
        scores = judge.expected_scores(votes)
        run.contests = {place: contests.choose(candidates, scores, bad_clips=run.bad_clips)}
    return run.contests[place]


def vote_on(run: Run, stage: Unit, items: Sequence[Item], *, critic: str) -> list[Vote]:
    """Cast every planned vote on the items exactly once (fault 4); return all of them.

    Items whose clips went bad are left out. Those that were asked about stay in their units, and
    the others fill the units behind them.
    """
    settings = run.config.critic
    kind: Kind = "point" if items and len(items[0].clip_hashes) == 1 else "pair"
    per_item = settings.num_score_paths if kind == "point" else settings.num_votes
    per_unit = max(1, settings.judge_batch_size // (per_item * len(DIMENSIONS)))
    run.progress.stage(stage.stage, round=stage.round, attempt=stage.attempt, total=len(items))
    votes: list[Vote] = []
    for unit in itertools.takewhile(run.is_done, _units(stage)):
        votes += run.records(_shard_path(run, unit), Vote)
    asked = {vote.item for vote in votes}
    run.progress.advance(len(asked))
    left = [item for item in shown(run, items) if item.item_id not in asked]
    units = itertools.filterfalse(run.is_done, _units(stage))
    for start, unit in zip(range(0, len(left), per_unit), units, strict=False):
        own_items = left[start : start + per_unit]
        _cast(run, unit, own_items, kind=kind, critic=critic)
        votes += run.records(_shard_path(run, unit), Vote)
        run.progress.advance(len(own_items))
    _say_troubles(run, stage)
    return votes


def shown(run: Run, items: Sequence[Item]) -> list[Item]:
    """Return the items all of whose clips can be read."""
    return [item for item in items if run.bad_clips.isdisjoint(item.clip_hashes)]


def _units(stage: Unit) -> Iterator[Unit]:
    """Yield a stage's units, from the first on."""
    return (replace(stage, index=index) for index in itertools.count())


def read_votes(run: Run, stage: Unit) -> list[Vote]:
    """Return all votes of a finished stage, with their reasoning."""
    paths = sorted(_shard_path(run, stage).parent.glob("votes-*.parquet"))
    return [vote for path in paths for vote in run.records(path, Vote)]


def seed_of(run: Run, *place: int | str) -> SeedOf:
    """Return the seeds of draws, which are named by where they happen; `again` counts re-asks."""

    def derive(item: str, dimension: Dimension, order: Order, draw: int, again: int) -> int:
        return run.seed("vote", *place, item, dimension, order, draw, again)

    return derive


def _point_items(candidates: Sequence[Candidate]) -> list[Item]:
    return [Item(c.candidate_id, c.caption, (c.clip,)) for c in candidates]


def _cast(run: Run, unit: Unit, items: Sequence[Item], *, kind: Kind, critic: str) -> None:
    """Ask the critic about one unit of items, and commit its votes."""
    clock = Clock()
    ask = judge.score if kind == "point" else judge.confirm
    loaded = run.critic(critic)
    troubles_before = _troubles(loaded)
    votes = ask(
        loaded,
        items,
        clips=run.clip,
        settings=run.config.critic,
        seed_of=seed_of(run, unit.stage, unit.round, unit.attempt),
    )
    path = _shard_path(run, unit)
    tables.write_records(path, votes, record_type=Vote)
    troubles = _troubles(loaded) - troubles_before
    run.commit(
        unit,
        files=(path,),
        votes=[(kind, critic, vote) for vote in votes],
        clock=clock,
        events=[ServedEvent(troubles=dict(troubles))] if troubles else [],
    )


def _shard_path(run: Run, unit: Unit) -> Path:
    folder = run.directory.attempt_path(unit.round, unit.attempt) / unit.stage
    return folder / f"votes-{unit.index:04d}.parquet"


def _troubles(critic: Judge) -> Counter[str]:
    """Return what a served critic has met so far, by kind; a critic in this process meets none."""
    return Counter(critic.failures) if isinstance(critic, ServedCritic) else Counter()


def _say_troubles(run: Run, stage: Unit) -> None:
    """Report a stage's unanswered questions and labels without probabilities at a server."""
    troubles: Counter[str] = Counter()
    for unit, served in run.ledger.events(ServedEvent):
        if (unit.round, unit.attempt, unit.stage) == (stage.round, stage.attempt, stage.stage):
            troubles.update(served.troubles)
    if troubles:
        counts = ", ".join(f"{num} x {name}" for name, num in sorted(troubles.items()))
        run.progress.say(f"{stage.stage}: the served critic met {counts}. See critic.server.")


def _keep_scale(run: Run, round: int, attempt: int, candidates: Sequence[Candidate]) -> None:
    """Require a score file's rows for a round, and keep the scale of the first round judged.

    The file grows between rounds; if its scale grew with it, margins would change their meaning.
    """
    unit = Unit(BASE_ROUND, 0, "score_scale")
    is_over = run.is_done(Unit(round, attempt, "judged"))
    if run.config.critic.backend != "scores" or is_over:
        return
    scores = run.score_file()
    scores.require((c.clip, c.caption) for c in candidates if c.clip not in run.bad_clips)
    if not run.is_done(unit):
        scale = scores.scale
        run.commit(unit, events=[ScoreScaleEvent(middle=scale.middle, spread=scale.spread)])
        run.forget_models()  # the judge may have read the file before it had these rows
