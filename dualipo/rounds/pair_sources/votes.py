"""Source `votes`: the critic's own votes on pairs of this round's candidates and of earlier ones.

The pool holds the contests that the round confirmed and some further pairs, and those of up to
`refresh.num_pool_rounds` rounds. What an earlier critic judged is asked again where the critic has
changed since; its votes stay as a memory, and a question on which two critics disagree teaches
nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from dualipo.critic.asks import Item
from dualipo.records import DIMENSIONS, Candidate, Dimension, Vote, pair_id, pairs_by_id
from dualipo.rounds import judging, sampling
from dualipo.rounds.caption_trial import turned_items
from dualipo.rounds.questions import pair_questions
from dualipo.rounds.run import Run
from dualipo.rounds.versions import attempt_of, critic_of
from dualipo.store.ledger import Unit

STAGE = "srpo_votes"


@dataclass(frozen=True)
class JudgedPairs:
    """The pairs that were voted on: the newest critic's votes, and what earlier critics voted."""

    items: list[Item] = field(default_factory=list)
    votes: list[Vote] = field(default_factory=list)
    earlier: list[list[Vote]] = field(default_factory=list)
    turned: set[str] = field(default_factory=set)


def judged(run: Run, place: Unit, candidates: Sequence[Candidate], *, critic: str) -> JudgedPairs:
    """Return the votes of the pool's rounds; ask the critic where it has not voted yet."""
    own = Unit(place.round, place.attempt, "confirm")
    by_critic: dict[str, list[Vote]] = {critic: judging.read_votes(run, own)}
    names = run.config.critic.questions.names
    items = _items(candidates, by_critic[critic], names)
    extra = _further(run, place, candidates, known=set(items))
    turned = set(turned_items(run, place.round, place.attempt))
    first = max(0, place.round + 1 - run.config.refresh.num_pool_rounds)
    for round_ in range(first, place.round):
        old = sampling.sample_candidates(run, round_, sampling.choose_prompts(run, round_))
        for attempt in range(attempt_of(run, round_) + 1):
            cast = _cast_in(run, round_, attempt)
            by_critic.setdefault(critic_of(run, round_, attempt), []).extend(cast)
            items |= _items(old, cast, names)
            turned |= set(turned_items(run, round_, attempt))
    known = {vote.item for vote in by_critic[critic]}
    again = [item for item_id, item in items.items() if item_id not in known]
    stage = Unit(place.round, place.attempt, STAGE)
    votes = by_critic.pop(critic) + judging.vote_on(run, stage, [*extra, *again], critic=critic)
    shown = judging.shown(run, [*items.values(), *extra])
    asked = {item.item_id for item in shown}
    newest = [vote for vote in votes if vote.item in asked]
    return JudgedPairs(shown, newest, list(by_critic.values()), turned)


def _cast_in(run: Run, round: int, attempt: int) -> list[Vote]:
    """Return the pairwise votes of an earlier attempt, for its preferences and its refresh."""
    stages = ("confirm", STAGE)
    return [vote for name in stages for vote in judging.read_votes(run, Unit(round, attempt, name))]


def _items(
    candidates: Sequence[Candidate], votes: Sequence[Vote], dimensions: tuple[Dimension, ...]
) -> dict[str, Item]:
    """Return the pairs of these candidates that the votes are about, by id."""
    pairs = pairs_by_id(candidates)
    voted = dict.fromkeys(vote.item for vote in votes if vote.item in pairs)
    return {
        item_id: Item(
            item_id, pairs[item_id][0].caption, tuple(c.clip for c in pairs[item_id]), dimensions
        )
        for item_id in voted
    }


def _further(run: Run, place: Unit, candidates: Sequence[Candidate], known: set[str]) -> list[Item]:
    """Return pairs of the round's candidates that are not `known`, drawn by the run's seed."""
    num, names = run.config.refresh.srpo.num_extra_pairs, run.config.critic.questions.names
    if num == 0:
        return []
    clip_to_id = {(c.prompt_id, c.clip): c.candidate_id for c in candidates}
    seed = run.seed("extra pairs", place.round)
    items: dict[str, Item] = {}
    questions = pair_questions(candidates, num=num * len(DIMENSIONS), seed=seed)
    for prompt, clip_a, clip_b, _ in questions:
        a, b = (clip_to_id[prompt.prompt_id, clip] for clip in (clip_a, clip_b))
        if not {pair_id(a, b), pair_id(b, a)} & known:
            items[pair_id(a, b)] = Item(pair_id(a, b), prompt.caption, (clip_a, clip_b), names)
    return list(items.values())[:num]
