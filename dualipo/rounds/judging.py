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
from itertools import chain
from typing import TypeVar

from dualipo import amounts
from dualipo.critic import judge, vote_counts
from dualipo.critic.asks import Item, SeedOf
from dualipo.critic.judge import ASKED_NOTHING, Earlier
from dualipo.critic.models.backends import Judge
from dualipo.critic.models.engine import EngineCritic
from dualipo.critic.models.served import ServedCritic
from dualipo.events import Event, ScoreScaleEvent, ServedEvent
from dualipo.preferences.build import Contest, DropReason
from dualipo.records import Candidate, Dimension, Order, Vote
from dualipo.rounds import caption_trial, contests, vote_reading
from dualipo.rounds.bench import Bench
from dualipo.rounds.contests import Contests, ExpectedScores
from dualipo.rounds.run import BASE_ROUND, Run
from dualipo.rounds.versions import critic_of
from dualipo.rounds.vote_reading import count_votes, read_votes, shard_path
from dualipo.seeds import derive
from dualipo.served_events import ServingEvent, UsageEvent
from dualipo.store import retry, tables
from dualipo.store.ledger import Unit, VoteKind
from dualipo.store.run_paths import attempt_path
from dualipo.workers.job import Done, Work

POINT: VoteKind = "point"
PAIR: VoteKind = "pair"
_PROMPTS_AT_ONCE = 64  # prompts whose grades are in memory together

Row = TypeVar("Row")


def score(run: Run, round: int, attempt: int, candidates: Sequence[Candidate]) -> None:
    """Vote on every candidate alone; an attempt that was judged is left as it is."""
    if run.is_done(Unit(round, attempt, "judged")):
        return
    _keep_scale(run, round, attempt, candidates)
    stage = Unit(round, attempt, "score")
    cast_all(run, stage, _point_items(run, candidates), critic=critic_of(run, round, attempt))
    _require_trusted(run, stage, "point")


def confirm(run: Run, round: int, attempt: int, candidates: Sequence[Candidate]) -> None:
    """Vote on each prompt's best against its worst, in both orders; KTO asks for no such votes."""
    judged = Unit(round, attempt, "judged")
    if run.is_done(judged):
        return
    if run.config.align.loss_type == "kto":
        stage, kind = Unit(round, attempt, "score"), POINT
        items = _point_items(run, candidates)
    else:
        stage, kind = Unit(round, attempt, "confirm"), PAIR
        chosen = contests_of(run, round, attempt, candidates)
        items = contests.items_of(chosen, candidates, run.config.critic.questions)
        cast_all(run, stage, items, critic=critic_of(run, round, attempt))
        _require_trusted(run, stage, kind)

    def votes_of(tried: Sequence[str]) -> list[Vote]:
        return list(chain.from_iterable(vote_reading.votes_on(run, stage, tried, kind)))

    neutral = seed_of(run, "neutral caption", round, attempt)
    trial = caption_trial.events(run, judged, shown(run, items), votes_of, seed_of=neutral)
    run.commit(judged, events=trial)


def _require_trusted(run: Run, stage: Unit, kind: VoteKind) -> None:
    """Stop a stage whose votes cannot be read or say nothing (faults 27, 31)."""
    counts, answers = count_votes(run, stage, kind), vote_reading.unread_answers(run, stage)
    vote_counts.require_readable(counts, settings=run.config.critic, answers=answers)
    vote_counts.require_opinion(counts, settings=run.config.critic)


def contests_of(run: Run, round: int, attempt: int, candidates: Sequence[Candidate]) -> Contests:
    """Return an attempt's contests. They are chosen once and kept while the run is open."""
    place = (round, attempt)
    if place not in run.contests:
        chosen: list[Contest] = []
        dropped: Counter[DropReason] = Counter()
        for own, scores in each_scores(run, round, attempt, candidates):
            some = contests.choose(
                own, scores, questions=run.config.critic.questions, bad_clips=run.bad_clips
            )
            chosen += some.chosen
            dropped += some.dropped
        run.contests = {place: Contests(chosen, dropped)}
    return run.contests[place]


def each_scores(
    run: Run, round: int, attempt: int, candidates: Sequence[Candidate]
) -> Iterator[tuple[list[Candidate], ExpectedScores]]:
    """Yield the candidates with their expected scores, some prompts at a time."""
    stage = Unit(round, attempt, "score")
    by_prompt: dict[str, list[Candidate]] = {}
    for candidate in candidates:
        by_prompt.setdefault(candidate.prompt_id, []).append(candidate)
    for prompts in _batched(list(by_prompt.values()), _PROMPTS_AT_ONCE):
        own = list(chain.from_iterable(prompts))
        ids = [candidate.candidate_id for candidate in own]
        votes = run.ledger.votes_on(ids, round=stage.round, attempt=stage.attempt, kind="point")
        yield own, judge.expected_scores(votes)


def vote_on(run: Run, stage: Unit, items: Sequence[Item], *, critic: str) -> list[Vote]:
    """Cast every planned vote as `cast_all` does; return all of the stage's, with reasoning."""
    cast_all(run, stage, items, critic=critic)
    return read_votes(run, stage)


def cast_all(run: Run, stage: Unit, items: Sequence[Item], *, critic: str) -> None:
    """Cast every planned vote on the items exactly once (fault 4).

    Items whose clips went bad are left out. Those that were asked about stay in their units, and
    the others fill the units that are free.
    """
    settings = run.config.critic
    kind: VoteKind = "point" if items and len(items[0].clip_hashes) == 1 else "pair"
    per_item = settings.num_score_paths if kind == "point" else settings.num_votes
    per_unit = max(1, settings.judge_batch_size // (per_item * len(settings.questions.names)))
    run.progress.stage(stage.stage, round=stage.round, attempt=stage.attempt, total=len(items))
    asked = run.ledger.voted_items(stage.round, stage.attempt, kind, critic)
    left = [item for item in shown(run, items) if item.item_id not in asked]
    run.progress.advance(sum(item.item_id in asked for item in items))
    earlier, taken = _earlier(run, stage), set(run.ledger.done_indices(stage))
    free = (index for index in itertools.count() if index not in taken)
    works = (
        _as_work(Ballot(replace(stage, index=next(free)), kind, critic, tuple(own), earlier))
        for own in _batched(left, per_unit)
    )
    for done in run.ask(cast, works, critic=critic, items=left) if left else ():
        _commit(run, done)
        run.progress.advance(len(done.work.items))
    _say_troubles(run, stage)


def shown(run: Run, items: Sequence[Item]) -> list[Item]:
    """Return the items all of whose clips can be read."""
    return [item for item in items if run.bad_clips.isdisjoint(item.clip_hashes)]


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
    kind: VoteKind
    critic: str
    items: tuple[Item, ...]
    earlier: Earlier


@dataclass(frozen=True)
class Shard:
    """The published votes of a unit: their file's sha256, and what a served critic met."""

    sha256: str
    troubles: Mapping[str, int]
    usage: Mapping[str, int]
    serving: ServingEvent | None


def cast(bench: Bench, ballot: Ballot) -> Shard:
    """Ask the critic about one unit of items, and publish its votes."""
    ask = judge.score if ballot.kind == "point" else judge.confirm
    loaded = bench.judge(ballot.critic)
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
        sha256,
        dict(_troubles(loaded) - troubles_before),
        dict(_usage(loaded) - usage_before),
        loaded.serving if isinstance(loaded, EngineCritic) else None,
    )


def _as_work(ballot: Ballot) -> Work:
    unit = ballot.unit
    return Work(
        name=f"{unit.stage} {unit.index} of round {unit.round}",
        items=tuple(item.item_id for item in ballot.items),
        content=ballot,
    )


def _commit(run: Run, done: Done) -> None:
    """Commit the votes of a unit."""
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


def _earlier(run: Run, stage: Unit) -> Earlier:
    """Return the answers that `--retry-abstained` kept of a stage, and how often it was used."""
    retried = run.ledger.done_indices(replace(stage, stage=retry.VOTING.get(stage.stage, "")))
    if not retried:
        return ASKED_NOTHING
    folder = attempt_path(run.path, stage.round, stage.attempt)
    paths = [retry.answered_path(folder, stage.stage, index) for index in retried]
    votes = [vote for path in paths if path.is_file() for vote in run.records(path, Vote)]
    return Earlier(tuple(votes), len(retried))


def _batched(rows: Sequence[Row], size: int) -> Iterator[Sequence[Row]]:
    return (rows[start : start + size] for start in range(0, len(rows), size))


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
    if shard.serving:
        events.append(shard.serving)
    return events


def _say_troubles(run: Run, stage: Unit) -> None:
    """Report what a stage met at a served critic, what stayed unread, and what it took of it."""
    troubles = _summed(served.troubles for served in run.events_of(stage, ServedEvent))
    if troubles:
        counts = ", ".join(f"{num} x {name}" for name, num in sorted(troubles.items()))
        run.progress.say(f"{stage.stage}: the served critic met {counts}. See critic.server.")
        cast_votes = chain.from_iterable(vote_reading.each_shard(run, stage))
        answers = vote_counts.counted(cast_votes)
        if answers.num_unread and stage.stage in retry.VOTING:
            run.progress.say(
                f"{stage.stage}: {answers.num_unread} of {answers.num} answers are missing. "
                f"Before the next round, `dualipo resume {run.path} --retry-abstained` asks for "
                "them again."
            )
    if taken := _summed(event.taken for event in run.events_of(stage, UsageEvent)):
        seconds = taken.pop("seconds", 0)
        spent = f" in {amounts.duration(seconds, 'clock')}" if seconds else ""
        counts = ", ".join(f"{num:,} {name}" for name, num in taken.items())
        run.progress.say(f"{stage.stage}: the served critic took {counts}{spent}.")


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
