"""The critic at work in a round: it scores every candidate, then confirms the best over the worst.

    score    every clip alone         -> votes "score"   -> expected scores -> contests
    confirm  each contest, both orders -> votes "confirm" -> unit "judged"

Votes are committed unit by unit and kept with their reasoning in parquet shards, from which they
are read. The checks that stop a stage (faults 27, 31) look at all of its votes at once.
"""

import itertools
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from dualipo.critic import judge
from dualipo.critic.asks import Item, SeedOf
from dualipo.critic.judge import ASKED_NOTHING, Earlier
from dualipo.critic.models.backends import Judge
from dualipo.critic.models.served import ServedCritic
from dualipo.events import Event, ScoreScaleEvent, ServedEvent
from dualipo.records import Candidate, Dimension, Order, Vote
from dualipo.rounds import caption_trial, contests
from dualipo.rounds.bench import Bench
from dualipo.rounds.contests import Contests
from dualipo.rounds.run import BASE_ROUND, Run
from dualipo.rounds.versions import critic_of
from dualipo.seeds import derive
from dualipo.served_events import UsageEvent
from dualipo.store import retry, tables
from dualipo.store.ledger import Unit
from dualipo.store.run_paths import attempt_path
from dualipo.workers.job import Done, Work

Kind = Literal["point", "pair"]
_SHARD = "votes-"  # begins the names of files of votes


def score(run: Run, round: int, attempt: int, candidates: Sequence[Candidate]) -> None:
    """Vote on every candidate alone; an attempt that was judged is left as it is."""
    if run.is_done(Unit(round, attempt, "judged")):
        return
    _keep_scale(run, round, attempt, candidates)
    votes = vote_on(
        run,
        Unit(round, attempt, "score"),
        _point_items(run, candidates),
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
        items = _point_items(run, candidates)
        votes = read_votes(run, Unit(round, attempt, "score"))
    else:
        chosen = contests_of(run, round, attempt, candidates)
        items = contests.items_of(chosen, candidates, run.config.critic.questions)
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
        chosen = contests.choose(
            candidates,
            scores,
            questions=run.config.critic.questions,
            bad_clips=run.bad_clips,
        )
        run.contests = {place: chosen}
    return run.contests[place]


def vote_on(run: Run, stage: Unit, items: Sequence[Item], *, critic: str) -> list[Vote]:
    """Cast every planned vote on the items exactly once (fault 4); return all of them.

    Items whose clips went bad are left out. Those that were asked about stay in their units, and
    the others fill the units that are free.
    """
    settings = run.config.critic
    kind: Kind = "point" if items and len(items[0].clip_hashes) == 1 else "pair"
    per_item = settings.num_score_paths if kind == "point" else settings.num_votes
    per_unit = max(1, settings.judge_batch_size // (per_item * len(settings.questions.names)))
    run.progress.stage(stage.stage, round=stage.round, attempt=stage.attempt, total=len(items))
    votes = {unit.index: _read_shard(run, unit) for unit in _done_units(run, stage)}
    asked = {vote.item for shard in votes.values() for vote in shard}
    run.progress.advance(len(asked))
    left = [item for item in shown(run, items) if item.item_id not in asked]
    free = itertools.filterfalse(run.is_done, _units(stage))
    earlier = _earlier(run, stage)
    works = [
        _as_work(Ballot(unit, kind, critic, tuple(left[start : start + per_unit]), earlier))
        for start, unit in zip(range(0, len(left), per_unit), free, strict=False)
    ]
    for done in run.spread(cast, works, critic=critic):
        votes[done.work.content.unit.index] = _commit(run, done)
        run.progress.advance(len(done.work.items))
    cast_votes = [vote for index in sorted(votes) for vote in votes[index]]
    _say_troubles(run, stage, cast_votes)
    return cast_votes


def shown(run: Run, items: Sequence[Item]) -> list[Item]:
    """Return the items all of whose clips can be read."""
    return [item for item in items if run.bad_clips.isdisjoint(item.clip_hashes)]


def _done_units(run: Run, stage: Unit) -> Iterator[Unit]:
    """Yield a stage's committed units in order; one that was set aside may be missing."""
    for path in _shards(run, stage):
        unit = replace(stage, index=int(path.stem.removeprefix(_SHARD)))
        if run.is_done(unit):
            yield unit


def _shards(run: Run, stage: Unit) -> list[Path]:
    return sorted(shard_path(run, stage).parent.glob(f"{_SHARD}*.parquet"))


def _units(stage: Unit) -> Iterator[Unit]:
    """Yield a stage's units, from the first on."""
    return (replace(stage, index=index) for index in itertools.count())


def read_votes(run: Run, stage: Unit) -> list[Vote]:
    """Return all votes of a finished stage, with their reasoning."""
    return [vote for path in _shards(run, stage) for vote in run.records(path, Vote)]


def seed_of(run: Bench, *place: int | str) -> SeedOf:
    """Return the seeds of draws, which are named by where they happen; `again` counts re-asks."""
    return VoteSeeds(run.config.seed, place)


@dataclass(frozen=True)
class VoteSeeds:
    """A function of a draw, as an object that a worker can be sent."""

    seed: int
    place: tuple[int | str, ...]

    def __call__(self, item: str, dimension: Dimension, order: Order, draw: int, again: int) -> int:
        """Return the seed of one draw."""
        return derive(self.seed, "vote", *self.place, item, dimension, order, draw, again)


def _point_items(run: Run, candidates: Sequence[Candidate]) -> list[Item]:
    names = run.config.critic.questions.names
    return [Item(c.candidate_id, c.caption, (c.clip,), names) for c in candidates]


@dataclass(frozen=True)
class Ballot:
    """A unit of votes to cast: by which critic, and on which items."""

    unit: Unit
    kind: Kind
    critic: str
    items: tuple[Item, ...]
    earlier: Earlier


@dataclass(frozen=True)
class Shard:
    """The published votes of a unit: their file's sha256, and what a served critic met."""

    sha256: str
    troubles: Mapping[str, int]
    usage: Mapping[str, int]


def cast(bench: Bench, ballot: Ballot) -> Shard:
    """Ask the critic about one unit of items, and publish its votes."""
    ask = judge.score if ballot.kind == "point" else judge.confirm
    loaded = bench.critic(ballot.critic)
    troubles_before, usage_before = _troubles(loaded), _usage(loaded)
    unit = ballot.unit
    votes = ask(
        loaded,
        ballot.items,
        clips=bench.clip,
        settings=bench.config.critic,
        seed_of=seed_of(bench, unit.stage, unit.round, unit.attempt),
        earlier=ballot.earlier,
    )
    sha256 = tables.write_records(shard_path(bench, unit), votes, record_type=Vote)
    return Shard(
        sha256, dict(_troubles(loaded) - troubles_before), dict(_usage(loaded) - usage_before)
    )


def _as_work(ballot: Ballot) -> Work:
    unit = ballot.unit
    return Work(
        name=f"{unit.stage} {unit.index} of round {unit.round}",
        items=tuple(item.item_id for item in ballot.items),
        content=ballot,
    )


def _commit(run: Run, done: Done) -> list[Vote]:
    """Commit the votes of a unit, and return them."""
    ballot: Ballot = done.work.content
    shard: Shard = done.row
    path = shard_path(run, ballot.unit)
    votes = tables.read_records(path, record_type=Vote)
    run.commit(
        ballot.unit,
        hashed={run.directory.relative(path): shard.sha256},
        votes=[(ballot.kind, ballot.critic, vote) for vote in votes],
        cost=done.cost,
        events=_served_events(shard),
    )
    return votes


def _earlier(run: Run, stage: Unit) -> Earlier:
    """Return the answers that `--retry-abstained` kept of a stage, and how often it was used."""
    place = (stage.round, stage.attempt, retry.VOTING.get(stage.stage))
    retried = [u for u in run.ledger.units() if (u.round, u.attempt, u.stage) == place]
    if not retried:
        return ASKED_NOTHING
    folder = attempt_path(run.path, stage.round, stage.attempt)
    paths = [retry.answered_path(folder, stage.stage, each.index) for each in retried]
    votes = [vote for path in paths if path.is_file() for vote in run.records(path, Vote)]
    return Earlier(tuple(votes), len(retried))


def _read_shard(run: Run, unit: Unit) -> list[Vote]:
    return run.records(shard_path(run, unit), Vote)


def shard_path(bench: Bench, unit: Unit) -> Path:
    """Return the file of a unit's votes with their reasoning."""
    folder = attempt_path(bench.path, unit.round, unit.attempt) / unit.stage
    return folder / f"{_SHARD}{unit.index:04d}.parquet"


def _troubles(critic: Judge) -> Counter[str]:
    """Return what a served critic has met so far, by kind; a critic in this process meets none."""
    return Counter(critic.failures) if isinstance(critic, ServedCritic) else Counter()


def _usage(critic: Judge) -> Counter[str]:
    """Return what was taken of a served critic so far."""
    return Counter(critic.usage) if isinstance(critic, ServedCritic) else Counter()


def _served_events(shard: Shard) -> list[Event]:
    """Return what a unit met at a served critic and took of it; nothing for one in this process."""
    events: list[Event] = []
    if shard.troubles:
        events.append(ServedEvent(troubles=dict(shard.troubles)))
    if shard.usage:
        events.append(UsageEvent(taken=dict(shard.usage)))
    return events


def _say_troubles(run: Run, stage: Unit, votes: Sequence[Vote]) -> None:
    """Report what a stage met at a served critic, what stayed unread, and what it took of it."""
    troubles = _summed(served.troubles for served in run.events_of(stage, ServedEvent))
    if troubles:
        counts = ", ".join(f"{num} x {name}" for name, num in sorted(troubles.items()))
        run.progress.say(f"{stage.stage}: the served critic met {counts}. See critic.server.")
        num_unread = sum(vote.outcome == "abstain" for vote in votes)
        if num_unread and stage.stage in retry.VOTING:
            run.progress.say(
                f"{stage.stage}: {num_unread} of {len(votes)} answers are missing. Before the next "
                f"round, `dualipo resume {run.path} --retry-abstained` asks for them again."
            )
    if taken := _summed(event.taken for event in run.events_of(stage, UsageEvent)):
        counts = ", ".join(f"{num:,} {name}" for name, num in taken.items())
        run.progress.say(f"{stage.stage}: the served critic took {counts}.")


def _summed(counts: Iterable[Mapping[str, int]]) -> Counter[str]:
    total: Counter[str] = Counter()
    for each in counts:
        total.update(each)
    return total


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
