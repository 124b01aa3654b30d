"""SRPO: the critic refines itself on its own most certain judgements (METHOD.md 3.2).

    R_ref(y|x) = log pi_theta(y|x) - log pi_ref(y|x)
    L_SRPO     = E[ PCE(y_w|x) * -log sigmoid(beta_c (R_0(y_w|x) - R_0(y_l|x))) ]

y_w is a path with the majority's verdict, y_l a path with another verdict, both of the same
question and order. A unanimous question is skipped, or y_l is sampled under a hint and scored
without it. A majority for a tie is no pseudo-label: a critic that is rewarded for ties soon answers
nothing else. Every kept pair is also trained on with its clips exchanged, so that no batch can
teach a position. The human seed's pairs are mixed in as an anchor. Leaves out pointwise votes as
pseudo-labels, and the decision to revert, which needs held-out labels and belongs to the round.
"""

from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from dualipo.config import Critic, Srpo
from dualipo.critic import reasoning, voting
from dualipo.critic.asks import Ask, Clips, Item, SeedOf, asks_about, load_queries
from dualipo.critic.learning import certainty, preference
from dualipo.critic.learning.preference import PathPair
from dualipo.critic.vlm import Sampling, TrainableVlm, Vlm
from dualipo.records import Order, Verdict, Vote
from dualipo.training import loop
from dualipo.training.memory import batched

Dropped = Literal[
    "unreadable",
    "uncertain",
    "tie",
    "one order",
    "unanimous",
    "hint refused",
    "not certain",
    "turned by its caption",
]


@dataclass(frozen=True)
class Judged:
    """A question with its pseudo-label; `verdict` is about the clips as they are shown."""

    ask: Ask
    verdict: Verdict
    winners: tuple[str, ...]
    loser: str | None


@dataclass(frozen=True)
class Pool:
    """The questions that may be learned from, before their certainty is known."""

    judged: tuple[Judged, ...]
    dropped: dict[Dropped, int]


@dataclass(frozen=True)
class Refreshed:
    """The outcome of a refresh.

    "nothing certain" means that no step was taken and the old critic stays (fault 32).
    """

    status: Literal["trained", "nothing certain"]
    kept: tuple[PathPair, ...]
    dropped: dict[Dropped, int]
    mean_pce: float | None
    metrics: loop.Metrics


def build_pool(
    votes: Sequence[Vote],
    items: Sequence[Item],
    *,
    keep_vote_share: float,
    turned: Collection[str] = (),
) -> Pool:
    """Turn the pairwise votes on `items` into questions with a pseudo-label, one per order.

    `turned` are items whose verdict turned under a neutral caption; the critic does not learn them.
    """
    by_id = {item.item_id: item for item in items}
    judged: list[Judged] = []
    dropped: Counter[Dropped] = Counter()
    for (item_id, dimension), group in voting.grouped(votes).items():
        tally = voting.tally(group)
        if tally.majority == "abstain":
            dropped["unreadable"] += 1
        elif tally.share < keep_vote_share:
            dropped["uncertain"] += 1
        elif tally.majority == "tie":
            dropped["tie"] += 1
        elif item_id in turned:
            dropped["turned by its caption"] += 1
        else:
            [ask, swapped] = asks_about([replace(by_id[item_id], dimensions=(dimension,))])
            both = [_judged(asked, group, tally.majority) for asked in (ask, swapped)]
            judged += [question for question in both if question is not None]
            if None in both:
                dropped["one order"] += 1
    return Pool(tuple(judged), dict(dropped))


def fill_losers(
    vlm: Vlm, pool: Pool, *, clips: Clips, settings: Critic, unanimous: str, seed_of: SeedOf
) -> Pool:
    """Give unanimous questions a loser sampled under a hint, or leave them out ("skip")."""
    lone = [question for question in pool.judged if question.loser is None]
    losers: dict[Ask, str | None] = {}
    if unanimous == "hint":
        hinted = batched(
            lone,
            lambda batch: _hinted_losers(vlm, batch, clips, settings, seed_of),
            batch_size=settings.judge_batch_size,
            subject="critic's hinted answers",
        )
        losers = dict(zip([question.ask for question in lone], hinted, strict=True))
    filled = [
        replace(question, loser=question.loser or losers.get(question.ask))
        for question in pool.judged
    ]
    reason: Dropped = "hint refused" if unanimous == "hint" else "unanimous"
    complete = tuple(question for question in filled if question.loser is not None)
    num_lost = len(filled) - len(complete)
    return Pool(complete, pool.dropped | ({reason: num_lost} if num_lost else {}))


def refresh(
    vlm: TrainableVlm,
    pool: Pool,
    *,
    load_sft: Callable[[], TrainableVlm],
    anchors: Sequence[PathPair],
    clips: Clips,
    settings: Srpo,
    batch_size: int,
    checkpoint_folder: Path,
    seed: int,
    on_step: Callable[[int, loop.Metrics], None] | None = None,
) -> Refreshed:
    """Filter the pool by certainty and train `vlm` in place on the pairs that are kept.

    `load_sft` loads the fine-tuned critic of the warm start, which is freed before training begins.
    `vlm` must hold the weights of the refresh's start, also when training resumes: they are R_0's
    reference.
    """
    certainties = _certainties(
        vlm, pool, load_sft=load_sft, clips=clips, settings=settings, batch_size=batch_size
    )
    kept = _keep(pool, certainties, settings)
    dropped = dict(pool.dropped)
    if len(kept) < len(pool.judged):
        dropped["not certain"] = len(pool.judged) - len(kept)
    mean = sum(certainties) / len(certainties) if certainties else None
    if not kept:
        return Refreshed("nothing certain", (), dropped, mean, {})
    trained = preference.train(
        vlm,
        [either for pair in kept for either in (pair, _exchanged(pair))],
        anchors=anchors,
        anchor_share=settings.seed_anchor_share,
        clips=clips,
        settings=settings,
        reference_batch_size=batch_size,
        checkpoint_folder=checkpoint_folder,
        seed=seed,
        on_step=on_step,
    )
    return Refreshed("trained", tuple(kept), dropped, mean, trained.metrics)


def _judged(ask: Ask, votes: Sequence[Vote], majority: Verdict) -> Judged | None:
    """Collect the paths of a question in one order; None if no path has the majority's verdict."""
    in_order = [vote for vote in votes if vote.order == ask.order]
    winners = tuple(vote.reasoning for vote in in_order if vote.outcome == majority)
    losers = [vote.reasoning for vote in in_order if vote.outcome not in (majority, "abstain")]
    if not winners:
        return None
    return Judged(ask, _as_shown(majority, ask.order), winners, losers[0] if losers else None)


def _hinted_losers(
    vlm: Vlm, batch: Sequence[Judged], clips: Clips, settings: Critic, seed_of: SeedOf
) -> list[str | None]:
    """Sample one path per question under a hint; None where it does not end in another verdict."""
    hinted = [
        replace(question.ask, hint=reasoning.swap_verdict(question.verdict)) for question in batch
    ]
    drawn = vlm.sample(
        load_queries(hinted, clips),
        Sampling(
            seeds=[[seed_of(ask.item_id, ask.dimension, ask.order, 0, 0)] for ask in hinted],
            temperature=settings.temperature,
            max_new_tokens=settings.max_new_tokens,
        ),
    )
    losers: list[str | None] = []
    for question, [path] in zip(batch, drawn, strict=True):
        outcome = reasoning.parse(path.text, "pair", truncated=path.truncated).outcome
        losers.append(None if outcome in (question.verdict, "abstain") else path.text)
    return losers


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
    winners = [
        question.winners if settings.pce == "monte_carlo" else question.winners[:1]
        for question in pool.judged
    ]
    asks = [
        question.ask for question, paths in zip(pool.judged, winners, strict=True) for _ in paths
    ]
    texts = [path for paths in winners for path in paths]
    now = preference.path_log_probs(vlm, asks, texts, clips=clips, batch_size=batch_size)
    sft = preference.path_log_probs(load_sft(), asks, texts, clips=clips, batch_size=batch_size)
    ratios = iter(theta - base for theta, base in zip(now, sft, strict=True))
    return certainty.pce([[next(ratios) for _ in paths] for paths in winners], settings=settings)


def _keep(pool: Pool, certainties: Sequence[float], settings: Srpo) -> list[PathPair]:
    kept = []
    for index in certainty.kept(certainties, settings=settings):
        question = pool.judged[index]
        assert question.loser is not None, "fill_losers comes first"
        weight = certainties[index] if settings.srpo_weight else 1.0
        kept.append(PathPair(question.ask, question.winners[0], question.loser, weight))
    return kept


def _exchanged(pair: PathPair) -> PathPair:
    """Exchange A and B in a preference: in its question and in both answers."""
    assert isinstance(pair.winner, str) and isinstance(pair.loser, str)
    winner, loser = reasoning.swap(pair.winner), reasoning.swap(pair.loser)
    return replace(pair, ask=pair.ask.swapped(), winner=winner, loser=loser)


def _as_shown(verdict: Verdict, order: Order) -> Verdict:
    return reasoning.swap_verdict(verdict) if order == "ba" else verdict
