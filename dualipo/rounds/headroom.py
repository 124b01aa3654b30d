"""The instrument `dualipo critic headroom`: what a refresh of a run's critic may expect.

The critic that serves is asked about the seed's held-out labels and about the audit's labels of the
newest generator's clips, or of a round's. Nothing is recorded in the run.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from dualipo.config import Critic
from dualipo.critic import judge, reasoning, voting
from dualipo.critic.asks import Clips, SeedOf
from dualipo.critic.trust import forced_choice
from dualipo.critic.vlm import Vlm
from dualipo.evaluation.headroom import Judged, Reading
from dualipo.records import Dimension, Pair, Vote
from dualipo.rounds import audit, judging, seed_labels
from dualipo.rounds.accuracy import pair_item
from dualipo.rounds.run import Run
from dualipo.rounds.versions import attempt_of
from dualipo.store.ledger import Unit


@dataclass(frozen=True)
class Measured:
    """The labels of one kind of clips as a critic reads them."""

    title: str
    judged: list[Judged]


def measure(run: Run, critic: str, round: int) -> list[Measured]:
    """Read the held-out labels, and the audit's labels of a round's clips, by a critic version."""
    held_out, _ = seed_labels.held_out_labels(run)
    fresh = audit.measuring(run, audit.newest(run, round, attempt_of(run, round)))
    asked = {"held-out labels of the base's clips": held_out, _audited(run, round): fresh}
    settings, draws = run.config.critic, judging.seed_of(run, "headroom", critic)
    return [
        Measured(
            title,
            read(run.critic(critic), pairs, clips=run.clip, settings=settings, seed_of=draws),
        )
        for title, pairs in asked.items()
    ]


def last_round(run: Run) -> int:
    """Return the last round whose generator is aligned; round 0 where none is."""
    rounds = [unit.round for unit in run.ledger.units() if unit.stage == "align"]
    return max(rounds, default=0)


def read(
    critic: Vlm, pairs: Sequence[Pair], *, clips: Clips, settings: Critic, seed_of: SeedOf
) -> list[Judged]:
    """Ask a critic about labelled pairs in all readings; leave out ties and what has no answer."""
    asked = {
        str(n): pair
        for n, pair in enumerate(pairs)
        if pair.verdict in ("a", "b") and pair.dimension in settings.questions.names
    }
    items = [
        replace(pair_item(pair, pair.dimension), item_id=name)
        for name, pair in asked.items()
        if pair.dimension != "overall"
    ]
    settings = settings.model_copy(update={"votes": "soft", "early_stop": False})
    votes = judge.confirm(critic, items, clips=clips, settings=settings, seed_of=seed_of)
    margins = forced_choice.margins(critic, items, clips=clips, settings=settings)
    return [
        _judged(asked[name], dimension, group, margins[name, dimension])
        for (name, dimension), group in voting.grouped(votes).items()
        if (name, dimension) in margins and any(vote.outcome != "abstain" for vote in group)
    ]


def _judged(pair: Pair, dimension: Dimension, votes: Sequence[Vote], margin: float) -> Judged:
    readable = [vote for vote in votes if vote.outcome != "abstain"]
    other = "b" if pair.verdict == "a" else "a"
    hard = voting.masses([replace(vote, probabilities=None) for vote in readable])
    soft = voting.masses(readable)
    lean = margin if pair.verdict == "a" else -margin
    rights: dict[Reading, float] = {
        "hard votes": _share(hard, pair.verdict, other),
        "soft votes": _share(soft, pair.verdict, other),
        "forced choice": 1 / (1 + math.exp(-max(-60.0, min(60.0, lean)))),
    }
    worth = {str(pair.verdict): 1.0, "tie": 0.5}
    paths = [worth.get(vote.outcome, 0.0) for vote in readable]
    return Judged(pair.prompt_id, dimension, rights, paths, _contradicted(pair, readable))


def _share(voted: Mapping[str, float], verdict: str, other: str) -> float:
    """Return the part for the label's verdict of what was voted for A or B; a half without any."""
    decided = voted.get(verdict, 0.0) + voted.get(other, 0.0)
    return voted.get(verdict, 0.0) / decided if decided else 0.5


def _contradicted(pair: Pair, votes: Sequence[Vote]) -> float | None:
    """Return the share of right, graded paths with both grades other than the label's."""
    if pair.grade_a is None or pair.grade_b is None:
        return None
    found = []
    for vote in votes:
        parsed = reasoning.parse(vote.reasoning, "pair", truncated=False)
        grades = (parsed.grade_a, parsed.grade_b)
        if vote.outcome == pair.verdict and None not in grades:
            own = grades if vote.order == "ab" else grades[::-1]
            found.append(own[0] != pair.grade_a and own[1] != pair.grade_b)
    return sum(found) / len(found) if found else None


def _audited(run: Run, round: int) -> str:
    is_aligned = run.is_done(Unit(round, attempt_of(run, round), "align"))
    if not is_aligned and round == 0:
        return "audit labels of the base generator's monitor clips"
    return f"audit labels of round {round}'s clips"
