"""SRPO: the critic refines itself on its own most certain judgements (METHOD.md 3.2).

    R_ref(y|x) = log pi_theta(y|x) - log pi_ref(y|x)
    L_SRPO     = E[ PCE(y_w|x) * -log sigmoid(beta_c (R_0(y_w|x) - R_0(y_l|x))) ]

y_w is a path with the majority's verdict, y_l one with another, both of the same question and
order; a unanimous question is skipped, or y_l is sampled under a hint and scored without it. A
majority for a tie is no pseudo-label: a critic that is rewarded for ties soon says nothing else.
Every kept pair is also trained on with its clips exchanged, so that no batch can teach a position.
The human seed's pairs are mixed in as an anchor. Leaves out pointwise votes as pseudo-labels, and
the decision to revert, which needs held-out labels and is the round's.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from dualipo.config import Critic, Srpo
from dualipo.critic import reasoning, voting
from dualipo.critic.asks import Ask, Clips, Item, SeedOf, asks_about, load_queries
from dualipo.critic.learning import certainty, preference
from dualipo.critic.learning.preference import PathPair
from dualipo.critic.vlm import TrainableVlm, Vlm
from dualipo.records import Order, Verdict, Vote
from dualipo.training import loop
from dualipo.training.memory import batched

Dropped = Literal[
    "unreadable", "uncertain", "tie", "one order", "unanimous", "hint refused", "not certain"
]


@dataclass(frozen=True)
class Judged:
    """One question with its pseudo-label: `verdict` is the majority's in terms of what is shown."""

    ask: Ask
    verdict: Verdict
    winners: tuple[str, ...]
    loser: str | None


@dataclass(frozen=True)
class Pool:
    """What may be learned from, before certainty is known."""

    judged: tuple[Judged, ...]
    dropped: dict[Dropped, int]


@dataclass(frozen=True)
class Refreshed:
    """What a refresh did. "nothing certain": no step was taken, the old critic stays (fault 32)."""

    status: Literal["trained", "nothing certain"]
    kept: tuple[PathPair, ...]
    dropped: dict[Dropped, int]
    mean_pce: float | None
    metrics: loop.Metrics


def build_pool(votes: Sequence[Vote], items: Sequence[Item], *, keep_vote_share: float) -> Pool:
    """Turn the pairwise votes on `items` into questions with a pseudo-label, one per order."""
    by_id = {item.item_id: item for item in items}
    judged: list[Judged] = []
    dropped: Counter[Dropped] = Counter()
    for (item, dimension), group in voting.grouped(votes).items():
        tally = voting.tally(group)
        if tally.majority == "abstain":
            dropped["unreadable"] += 1
        elif tally.share < keep_vote_share:
            dropped["uncertain"] += 1
        elif tally.majority == "tie":
            dropped["tie"] += 1
        else:
            [ask, swapped] = asks_about([replace(by_id[item], dimensions=(dimension,))])
            made = [_judged(one, group, tally.majority) for one in (ask, swapped)]
            judged += [one for one in made if one is not None]
            if None in made:
                dropped["one order"] += 1
    return Pool(tuple(judged), dict(dropped))


def fill_losers(
    vlm: Vlm, pool: Pool, *, clips: Clips, settings: Critic, unanimous: str, seed_of: SeedOf
) -> Pool:
    """Give unanimous questions a loser sampled under a hint, or leave them out ("skip")."""
    lone = [one for one in pool.judged if one.loser is None]
    found: dict[Ask, str | None] = {}
    if unanimous == "hint":
        drawn = batched(
            lone,
            lambda some: _hinted(vlm, some, clips, settings, seed_of),
            batch_size=settings.judge_batch_size,
            subject="critic's hinted answers",
        )
        found = dict(zip([one.ask for one in lone], drawn, strict=True))
    filled = [replace(one, loser=one.loser or found.get(one.ask)) for one in pool.judged]
    reason: Dropped = "hint refused" if unanimous == "hint" else "unanimous"
    whole = tuple(one for one in filled if one.loser is not None)
    num_lost = len(filled) - len(whole)
    return Pool(whole, pool.dropped | ({reason: num_lost} if num_lost else {}))


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
    """Filter the pool by certainty and train `vlm` in place on what is left.

    `load_sft` makes the warm-start SFT critic; it is let go before training begins. `vlm` holds
    the weights of the refresh's start, which are R_0's reference, also when training resumes.
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
        [pair for one in kept for pair in (one, _exchanged(one))],
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
    """The question as it was shown in one order; nothing if none there met the majority."""
    here = [one for one in votes if one.order == ask.order]
    winners = tuple(one.reasoning for one in here if one.outcome == majority)
    losers = [one.reasoning for one in here if one.outcome not in (majority, "abstain")]
    if not winners:
        return None
    return Judged(ask, _shown(majority, ask.order), winners, losers[0] if losers else None)


def _hinted(
    vlm: Vlm, batch: Sequence[Judged], clips: Clips, settings: Critic, seed_of: SeedOf
) -> list[str | None]:
    """One path a question under a hint; none where it does not end in another verdict."""
    hinted = [replace(one.ask, hint=reasoning.swap_verdict(one.verdict)) for one in batch]
    drawn = vlm.sample(
        load_queries(hinted, clips),
        num_paths=1,
        temperature=settings.temperature,
        seeds=[[seed_of(ask.item_id, ask.dimension, ask.order, 0, 0)] for ask in hinted],
        max_new_tokens=settings.max_new_tokens,
    )
    found: list[str | None] = []
    for one, [path] in zip(batch, drawn, strict=True):
        outcome = reasoning.parse(path.text, "pair", truncated=path.truncated).outcome
        found.append(None if outcome in (one.verdict, "abstain") else path.text)
    return found


def _certainties(
    vlm: TrainableVlm,
    pool: Pool,
    *,
    load_sft: Callable[[], TrainableVlm],
    clips: Clips,
    settings: Srpo,
    batch_size: int,
) -> list[float]:
    """PCE of every question's y_w from R_sft = log pi_theta - log pi_sft."""
    used = [
        one.winners if settings.pce == "monte_carlo" else one.winners[:1] for one in pool.judged
    ]
    asks = [one.ask for one, paths in zip(pool.judged, used, strict=True) for _ in paths]
    texts = [path for paths in used for path in paths]
    now = preference.path_log_probs(vlm, asks, texts, clips=clips, batch_size=batch_size)
    sft = preference.path_log_probs(load_sft(), asks, texts, clips=clips, batch_size=batch_size)
    ratios = iter(here - there for here, there in zip(now, sft, strict=True))
    return certainty.pce([[next(ratios) for _ in paths] for paths in used], settings=settings)


def _keep(pool: Pool, certainties: Sequence[float], settings: Srpo) -> list[PathPair]:
    kept = []
    for index in certainty.kept(certainties, settings=settings):
        one = pool.judged[index]
        assert one.loser is not None, "fill_losers comes first"
        weight = certainties[index] if settings.srpo_weight else 1.0
        kept.append(PathPair(one.ask, one.winners[0], one.loser, weight))
    return kept


def _exchanged(pair: PathPair) -> PathPair:
    """The same preference with A and B exchanged, in the question and in both answers."""
    assert isinstance(pair.winner, str) and isinstance(pair.loser, str)
    winner, loser = reasoning.swap(pair.winner), reasoning.swap(pair.loser)
    return replace(pair, ask=pair.ask.swapped(), winner=winner, loser=loser)


def _shown(verdict: Verdict, order: Order) -> Verdict:
    return reasoning.swap_verdict(verdict) if order == "ba" else verdict
