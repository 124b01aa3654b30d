"""Reading a stage's votes back: with the critic's words from its files, or without from the ledger.

A round of the paper's size casts millions of votes, so no reader here holds more of them than it
was asked for. The ledger has all of a vote but its words and a soft vote's probabilities; those are
in one parquet shard for each unit. An attempt's grades are the stage `score`'s, and what a critic
voted about a pair in an attempt, it voted in one stage (the ledger's key holds that).
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from dualipo.critic import vote_counts
from dualipo.critic.vote_counts import VoteCounts
from dualipo.records import Vote
from dualipo.rounds.bench import Bench
from dualipo.rounds.run import Run
from dualipo.store.ledger import Unit, VoteKind
from dualipo.store.run_paths import attempt_path

_AT_ONCE = 256  # items that the ledger is asked about in one question


def shard_path(bench: Bench, unit: Unit) -> Path:
    """Return the file of a unit's votes with their reasoning."""
    folder = attempt_path(bench.path, unit.round, unit.attempt) / unit.stage
    return folder / f"votes-{unit.index:04d}.parquet"


def read_votes(run: Run, stage: Unit) -> list[Vote]:
    """Return all votes of a stage, with their reasoning."""
    return [vote for shard in each_shard(run, stage) for vote in shard]


def each_shard(run: Run, stage: Unit) -> Iterator[list[Vote]]:
    """Yield the votes of each committed unit of a stage, with their reasoning, unit by unit."""
    for index in run.ledger.done_indices(stage):
        yield run.records(shard_path(run, replace(stage, index=index)), Vote)


def count_votes(run: Run, stage: Unit, kind: VoteKind) -> VoteCounts:
    """Count the answers of the stage `score` or `confirm`, while no later stage has voted."""
    return vote_counts.counted(run.ledger.each_vote(stage.round, stage.attempt, kind))


def unread_answers(run: Run, stage: Unit) -> Iterator[str]:
    """Yield the words of the answers that could not be read."""
    return vote_counts.unread(vote for shard in each_shard(run, stage) for vote in shard)


def votes_on(run: Run, stage: Unit, items: Sequence[str], kind: VoteKind) -> Iterator[list[Vote]]:
    """Yield what a stage voted on these items, some items' votes at a time.

    Hard votes come without their reasoning, in the order of the items; soft ones from the shards.
    """
    if run.config.critic.votes == "soft":
        wanted = set(items)
        for shard in each_shard(run, stage):
            yield [vote for vote in shard if vote.item in wanted]
        return
    for start in range(0, len(items), _AT_ONCE):
        asked = items[start : start + _AT_ONCE]
        order = {item: place for place, item in enumerate(asked)}
        votes = run.ledger.votes_on(asked, round=stage.round, attempt=stage.attempt, kind=kind)
        yield sorted(votes, key=lambda vote: (order[vote.item], *_place(run, vote)))


def with_reasoning(run: Run, stage: Unit, items: Collection[str]) -> list[Vote]:
    """Return the votes on a few items with their reasoning; shards are read until all are met."""
    wanted, votes = set(items), []
    for shard in each_shard(run, stage):
        own = [vote for vote in shard if vote.item in items]
        votes += own
        wanted -= {vote.item for vote in own}
        if not wanted:
            break
    return votes


def _place(run: Run, vote: Vote) -> tuple[int, int, str]:
    """Return where a vote stands among those on its item, as a stage casts them."""
    names = run.config.critic.questions.names
    return names.index(vote.dimension), vote.draw, vote.order
