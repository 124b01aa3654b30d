"""Gathers what a refresh learns from: the pairs of every source that the recipe names.

Labelled pairs are written as preferences between two of the critic's own answers (`contrast`).
Those of the votes have their own paths already, and are filtered and weighed by their certainty.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from dualipo.critic import reasoning
from dualipo.critic.asks import Clips
from dualipo.critic.learning import contrast, srpo
from dualipo.critic.learning.damages import Damaged, with_damaged
from dualipo.critic.learning.preference import PathPair
from dualipo.critic.learning.srpo import Pool
from dualipo.event_parts import SourceCount
from dualipo.records import Candidate, Prompt, Verdict
from dualipo.rounds import audit as audit_prompts
from dualipo.rounds import judging
from dualipo.rounds.pair_sources import audit, constructed, newer, votes
from dualipo.rounds.pair_sources.found import Found, precision
from dualipo.rounds.questions import PairQuestion
from dualipo.rounds.run import Run
from dualipo.store.ledger import Unit

LABELLED: dict[str, Callable[[Run, Unit, Sequence[Candidate]], Found]] = {
    "constructed": constructed.pairs,
    "newer": newer.pairs,
    "audit": audit.pairs,
}


@dataclass(frozen=True)
class Gathered:
    """The votes' pool, the pairs of the other sources by name, and the clips that all are about.

    Those of `damaged` are not the run's own.
    """

    pool: Pool
    num_judged: int
    labelled: Mapping[str, list[PathPair]]
    clips: Clips
    damaged: Mapping[str, Damaged]

    @property
    def further(self) -> list[PathPair]:
        """The pairs of all sources but the votes."""
        return [pair for pairs in self.labelled.values() for pair in pairs]


def gather(run: Run, place: Unit, candidates: Sequence[Candidate], *, critic: str) -> Gathered:
    """Return what the refresh of an attempt may learn from; ask the critic what that takes."""
    sources = run.config.refresh.sources
    pool, num_judged = Pool((), {}), 0
    if "votes" in sources:
        pool, num_judged = _pool(run, place, candidates, critic)
    found: dict[str, Found] = {
        name: LABELLED[name](run, place, candidates) for name in sources if name in LABELLED
    }
    measuring = audit_prompts.measuring_prompts(run)
    for name, each in found.items():
        learnt = {pair.prompt_id for pair in each.pairs}
        assert measuring.isdisjoint(learnt), f"{name} would teach a critic what measures it"
    damaged = {name: clip for each in found.values() for name, clip in each.damaged.items()}
    clips = with_damaged(run.clip, damaged)
    labelled = {
        name: contrast.path_pairs(
            run.critic(critic),
            each.pairs,
            clips=clips,
            num_paths=run.config.refresh.srpo.num_paths,
            settings=run.config.critic,
            seed_of=judging.seed_of(run, name, place.round, place.attempt),
        )
        for name, each in found.items()
    }
    return Gathered(pool, num_judged, labelled, clips, damaged)


def counts(run: Run, gathered: Gathered, kept: Sequence[PathPair]) -> list[SourceCount]:
    """Count the pairs that each source gave, and how many are right by fresh labels."""
    by_source = {name: gathered.labelled.get(name, kept) for name in run.config.refresh.sources}
    counted = []
    for name, pairs in by_source.items():
        asked = [_asked(pair) for pair in pairs]
        measured = precision(run, asked, clips=gathered.clips, name=name)
        counted.append(
            SourceCount(
                name=name,
                num_pairs=len(pairs),
                num_labelled=measured.num_labelled,
                precision=measured.share,
            )
        )
    return counted


def _pool(run: Run, place: Unit, candidates: Sequence[Candidate], critic: str) -> tuple[Pool, int]:
    """Return the questions with a pseudo-label, and how many were judged."""
    judged = votes.judged(run, place, candidates, critic=critic)
    pool = srpo.build_pool(
        judged.votes,
        judged.items,
        keep_vote_share=run.config.critic.keep_vote_share,
        keep_unanimous=run.config.refresh.srpo.keep_unanimous,
        turned=judged.turned,
        earlier=judged.earlier,
    )
    return pool, len({(vote.item, vote.dimension) for vote in judged.votes})


def _asked(pair: PathPair) -> tuple[PairQuestion, Verdict]:
    """Return a preference as the question that it answers, with its verdict."""
    ask = pair.ask
    assert isinstance(pair.winner, str)
    outcome = reasoning.parse(pair.winner, "pair", truncated=False).outcome
    verdict: Verdict = "a" if outcome == "a" else "b"
    clip_a, clip_b = ask.clip_hashes
    question = PairQuestion(Prompt(ask.item_id, ask.caption), clip_a, clip_b, ask.dimension)
    return question, verdict
