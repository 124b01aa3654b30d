"""SRPO: the critic refines itself on its own most certain judgements (METHOD.md 3.2).

    R_ref(y|x) = log pi_theta(y|x) - log pi_ref(y|x)
    L_SRPO     = E[ PCE(y_w|x) * -log sigmoid(beta_c (R_0(y_w|x) - R_0(y_l|x))) ] + nu * NLL(y_w|x)

y_w is a path with the majority's verdict, y_l a path with another verdict, both of the same
question and order. A unanimous question has no such path: its y_l is y_w with the clips exchanged,
so the same words about the other clip. A majority for a tie is no pseudo-label: a critic that is
rewarded for ties soon answers nothing else. Where an earlier critic came to the other verdict, the
question is left out. Pairs from other sources join those of the votes with weight 1, and the human
seed's pairs are an anchor whose share falls. Every pair is learnt in both orders (`preference`).

Leaves out pointwise votes as pseudo-labels, and the decision to revert, which needs labels and
belongs to the round.
"""

from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Literal

from dualipo.config import Srpo
from dualipo.critic import reasoning, voting
from dualipo.critic.asks import CAPTIONLESS, Ask, Clips, Item, asks_about
from dualipo.critic.learning import certainty, preference
from dualipo.critic.learning.preference import PathPair
from dualipo.critic.vlm import TrainableVlm
from dualipo.records import Dimension, Order, Verdict, Vote
from dualipo.training import loop
from dualipo.training.early_stop import Watch

Dropped = Literal[
    "unreadable",
    "uncertain",
    "tie",
    "one order",
    "unanimous",
    "conflict",
    "not certain",
    "turned by its caption",
]
Status = Literal["trained", "nothing certain", "too few"]
Place = tuple[str, Dimension]


@dataclass(frozen=True)
class Judged:
    """A question with its pseudo-label; `verdict` is about the clips as they are shown."""

    ask: Ask
    verdict: Verdict
    winners: tuple[str, ...]
    loser: str


@dataclass(frozen=True)
class Pool:
    """The questions that may be learned from, before their certainty is known."""

    judged: tuple[Judged, ...]
    dropped: dict[Dropped, int]


@dataclass(frozen=True)
class Refreshed:
    """The outcome of a refresh; `kept` are the votes' pairs, `num_pairs` those of all sources.

    "nothing certain" and "too few" mean that no step was taken and the old critic stays (fault 32).
    `best_step` counts the steps of the weights, where a watch chose them.
    """

    status: Status
    kept: tuple[PathPair, ...]
    dropped: dict[Dropped, int]
    num_pairs: int
    mean_pce: float | None
    metrics: loop.Metrics
    best_step: int | None = None


def build_pool(
    votes: Sequence[Vote],
    items: Sequence[Item],
    *,
    keep_vote_share: float,
    keep_unanimous: bool = True,
    turned: Collection[str] = (),
    earlier: Sequence[Sequence[Vote]] = (),
) -> Pool:
    """Turn the pairwise votes on `items` into questions with a pseudo-label, one per order.

    `turned` are items whose verdict turned under a neutral caption; the critic does not learn them.
    `earlier` holds what earlier critics voted: where one of them contradicts, nothing is learned.
    """
    by_id = {item.item_id: item for item in items}
    memory = [remembered(cast) for cast in earlier]
    judged: list[Judged] = []
    dropped: Counter[Dropped] = Counter()
    for (item_id, dimension), group in voting.grouped(votes).items():
        tally = voting.tally(group)
        opposite = reasoning.swap_verdict(tally.majority)
        if tally.majority == "abstain":
            dropped["unreadable"] += 1
        elif tally.share < keep_vote_share:
            dropped["uncertain"] += 1
        elif tally.majority == "tie":
            dropped["tie"] += 1
        elif item_id in turned:
            dropped["turned by its caption"] += 1
        elif any(verdicts.get((item_id, dimension)) == opposite for verdicts in memory):
            dropped["conflict"] += 1
        else:
            for ask in asks_about([replace(by_id[item_id], dimensions=(dimension,))]):
                question = _judged(ask, group, tally.majority, keep_unanimous)
                if isinstance(question, Judged):
                    judged.append(question)
                else:
                    dropped[question] += 1
    return Pool(tuple(judged), dict(dropped))


def remembered(votes: Sequence[Vote]) -> dict[Place, Verdict]:
    """Return the verdicts for A or for B of a critic's votes, by item and dimension."""
    tallies = voting.tallies(votes)
    return {place: t.majority for place, t in tallies.items() if t.majority in ("a", "b")}


def refresh(
    vlm: TrainableVlm,
    pool: Pool,
    *,
    load_sft: Callable[[], TrainableVlm],
    anchors: Sequence[PathPair],
    clips: Clips,
    settings: Srpo,
    captionless: Collection[str] = CAPTIONLESS,
    batch_size: int,
    checkpoint_folder: Path,
    seed: int,
    further: Sequence[PathPair] = (),
    min_pairs: int = 1,
    watch: Watch | None = None,
    on_step: Callable[[int, loop.Metrics], None] | None = None,
) -> Refreshed:
    """Filter the pool by certainty and train `vlm` in place on what is kept and on `further` pairs.

    `load_sft` loads the fine-tuned critic of the warm start, which is freed before training begins.
    `vlm` must hold the weights of the refresh's start, also when training resumes: they are R_0's
    reference. Fewer than `min_pairs` questions teach nothing. A `watch` chooses a checkpoint.
    """
    certainties = _certainties(
        vlm, pool, load_sft=load_sft, clips=clips, settings=settings, batch_size=batch_size
    )
    untrained = _chosen(pool, certainties, settings, num_further=len(further), least=min_pairs)
    if untrained.status != "trained":
        return untrained
    trained = preference.train(
        vlm,
        [*untrained.kept, *further],
        anchors=anchors,
        anchor_shares=(settings.seed_anchor_start, settings.seed_anchor_share),
        clips=clips,
        settings=settings,
        captionless=captionless,
        reference_batch_size=batch_size,
        checkpoint_folder=checkpoint_folder,
        seed=seed,
        watch=watch,
        on_step=on_step,
    )
    return replace(untrained, metrics=trained.metrics, best_step=trained.best_step)


def _judged(
    ask: Ask, votes: Sequence[Vote], majority: Verdict, keep_unanimous: bool
) -> Judged | Dropped:
    """Collect the paths of a question in one order, or say why there is nothing to learn from."""
    readable = [
        vote for vote in votes if vote.order == ask.order and reasoning.can_swap(vote.reasoning)
    ]
    winners = tuple(vote.reasoning for vote in readable if vote.outcome == majority)
    losers = [vote.reasoning for vote in readable if vote.outcome not in (majority, "abstain")]
    if not winners:
        return "one order"
    if not losers and not keep_unanimous:
        return "unanimous"
    loser = losers[0] if losers else reasoning.swap(winners[0])
    return Judged(ask, _as_shown(majority, ask.order), winners, loser)


def _certainties(
    vlm: TrainableVlm,
    pool: Pool,
    *,
    load_sft: Callable[[], TrainableVlm],
    clips: Clips,
    settings: Srpo,
    batch_size: int,
) -> list[float]:
    """Return the PCE of every question's y_w from R_sft = log pi_theta - log pi_sft."""
    if not pool.judged:
        return []
    winners = [
        question.winners if settings.pce == "monte_carlo" else question.winners[:1]
        for question in pool.judged
    ]
    asks = [question.ask for question in pool.judged]
    score = partial(
        preference.log_probs_by_question,
        asks=asks,
        paths=winners,
        clips=clips,
        batch_size=batch_size,
    )
    now, sft = score(vlm), score(load_sft())
    ratios = [
        [theta - base for theta, base in zip(*paths, strict=True)]
        for paths in zip(now, sft, strict=True)
    ]
    return certainty.pce(ratios, settings=settings)


def _chosen(
    pool: Pool, certainties: Sequence[float], settings: Srpo, *, num_further: int, least: int
) -> Refreshed:
    """Return what certainty keeps of the pool, and whether that and the rest are enough."""
    kept = _keep(pool, certainties, settings)
    dropped = dict(pool.dropped)
    if len(kept) < len(pool.judged):
        dropped["not certain"] = len(pool.judged) - len(kept)
    mean = sum(certainties) / len(certainties) if certainties else None
    num_pairs = len(kept) + num_further
    status: Status = "trained" if num_pairs else "nothing certain"
    status = "too few" if 0 < num_pairs < least else status
    return Refreshed(status, tuple(kept), dropped, num_pairs, mean, {})


def _keep(pool: Pool, certainties: Sequence[float], settings: Srpo) -> list[PathPair]:
    kept = []
    for index in certainty.kept(certainties, settings=settings):
        question = pool.judged[index]
        weight = certainties[index] if settings.srpo_weight else 1.0
        kept.append(PathPair(question.ask, question.winners[0], question.loser, weight))
    return kept


def _as_shown(verdict: Verdict, order: Order) -> Verdict:
    return reasoning.swap_verdict(verdict) if order == "ba" else verdict
