"""DPO over reasoning paths, for the warm start's second half and for SRPO (METHOD.md 3.2, 3.3).

A preference holds two responses to one question. The reference is the critic at the start of the
training. Its log-probabilities are computed once, so that no second copy of the weights is kept.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from dualipo import seeds
from dualipo.config import CriticPreference
from dualipo.critic import reasoning
from dualipo.critic.asks import CAPTIONLESS, Ask, Clips, load_queries
from dualipo.critic.learning import losses
from dualipo.critic.learning.batches import mixed
from dualipo.critic.learning.caption_exchange import exchanged
from dualipo.critic.vlm import Response, TrainableVlm
from dualipo.training import loop, ranks
from dualipo.training.early_stop import Watch
from dualipo.training.memory import batched
from dualipo.training.precision import forward_pass


@dataclass(frozen=True)
class PathPair:
    """A better and a worse answer to one question; SRPO's weight is the winner's PCE."""

    ask: Ask
    winner: Response
    loser: Response
    weight: float = 1.0


def in_both_orders(pair: PathPair) -> tuple[PathPair, PathPair]:
    """Return a preference about two clips, and the same with A and B exchanged.

    Exchanged are the clips in its question and the words in both answers. One about a single clip,
    or with an answer outside the grammar, comes twice as it is.
    """
    texts = [answer for answer in (pair.winner, pair.loser) if isinstance(answer, str)]
    if pair.ask.kind == "point" or sum(map(reasoning.can_swap, texts)) < 2:
        return pair, pair
    winner, loser = map(reasoning.swap, texts)
    return pair, replace(pair, ask=pair.ask.swapped(), winner=winner, loser=loser)


@torch.no_grad()
def path_log_probs(
    vlm: TrainableVlm,
    asks: Sequence[Ask],
    responses: Sequence[Response],
    *,
    clips: Clips,
    batch_size: int,
) -> list[float]:
    """Return log pi(response | question) of every response, summed over its tokens.

    Where several ranks hold the critic, each scores its share of a batch, and all get the whole.
    """

    def score(batch: Sequence[tuple[Ask, Response]]) -> list[float]:
        own = ranks.share(batch)
        queries = load_queries([ask for ask, _ in own], clips)
        sums_B, _ = vlm.log_probs(queries, [response for _, response in own])
        return ranks.gathered(sums_B)[: len(batch)].tolist()

    answered = list(zip(asks, responses, strict=True))
    return batched(answered, score, batch_size=batch_size, subject="critic's paths")


@torch.no_grad()
def log_probs_by_question(
    vlm: TrainableVlm,
    asks: Sequence[Ask],
    paths: Sequence[Sequence[Response]],
    *,
    clips: Clips,
    batch_size: int,
) -> list[list[float]]:
    """Return log pi(path | question) of every path of every question; its prompt is run once.

    Questions with equally many paths stand together. `batch_size` counts paths. Ranks share a batch
    as in `path_log_probs`.
    """

    def score(batch: Sequence[int]) -> list[list[float]]:
        width = max(len(paths[n]) for n in batch)
        own = ranks.share(batch)
        queries = load_queries([asks[n] for n in own], clips)
        filled = [[*paths[n], *[paths[n][-1]] * (width - len(paths[n]))] for n in own]
        sums_BP = vlm.log_probs_of_each(queries, filled)
        return ranks.gathered(sums_BP)[: len(batch)].tolist()

    order = sorted(range(len(paths)), key=lambda n: len(paths[n]))
    at_once = max(1, batch_size // max(map(len, paths)))
    rows = batched(order, score, batch_size=at_once, subject="critic's paths")
    known = dict(zip(order, rows, strict=True))
    return [known[n][: len(own)] for n, own in enumerate(paths)]


@dataclass(frozen=True)
class PathPreference(loop.Objective):
    """The training objective `losses.path_dpo` on a batch of pairs and their reference gaps.

    `nll_weight` times the winners' mean negative log-probability of a token is added, so that they
    do not become less likely while their losers fall faster.
    """

    vlm: TrainableVlm
    clips: Clips
    beta: float
    nll_weight: float

    def loss(self, micro_batch: dict[str, Any], prepared: None) -> tuple[Tensor, loop.Metrics]:
        """Return the mean over pairs; `accuracy` is how often the winner gained more."""
        pairs: list[PathPair] = micro_batch["pairs"]
        queries = load_queries([pair.ask for pair in pairs], self.clips)
        responses = [pair.winner for pair in pairs] + [pair.loser for pair in pairs]
        sums_B, num_tokens_B = self.vlm.log_probs(queries * 2, responses)
        winner_B, loser_B = sums_B.chunk(2)
        gap_B = winner_B.new_tensor(micro_batch["reference_gaps"])
        margin_B = losses.path_margin(winner_B, loser_B, reference_gap_B=gap_B)
        weight_B = winner_B.new_tensor([pair.weight for pair in pairs])
        loss = losses.path_dpo(margin_B, beta=self.beta, weight_B=weight_B)
        nll = losses.sequence_nll(winner_B, num_tokens_B=num_tokens_B.chunk(2)[0])
        return loss + self.nll_weight * nll, {
            "accuracy": float((margin_B > 0).float().mean()),
            "margin": float(margin_B.detach().mean()),
            "winner_nll": float(nll.detach()),
        }


def train(
    vlm: TrainableVlm,
    pairs: Sequence[PathPair],
    *,
    anchors: Sequence[PathPair] = (),
    anchor_shares: tuple[float, float] = (0.0, 0.0),
    clips: Clips,
    settings: CriticPreference,
    captionless: Collection[str] = CAPTIONLESS,
    reference_batch_size: int,
    checkpoint_folder: Path,
    seed: int,
    watch: Watch | None = None,
    on_step: Callable[[int, loop.Metrics], None] | None = None,
) -> loop.TrainResult:
    """Train `vlm` in place on the pairs, each in both orders of its clips, in the same step.

    Else a critic soon prefers a place: no step weighs the one against the other, and where it leans
    to one, its wrong answers stand where the other one is right.
    `anchor_shares` are the parts of the first and of the last batch that are anchors, if given.
    A pair's caption is exchanged once, as its reference is computed under the same caption.
    `vlm` must hold the weights that are its reference, also when training resumes.
    """
    in_orders = [
        each
        for pair in _under_exchanged_captions([*pairs, *anchors], settings, captionless, seed)
        for each in in_both_orders(pair)
    ]
    places = _places(len(pairs), len(anchors), anchor_shares, settings, seed)
    shown = {n: in_orders[n] for step in range(settings.max_train_steps) for n in places(step)}
    with forward_pass(next(vlm.module.parameters()).device, settings):
        gaps = _reference_gaps(vlm, shown, clips=clips, batch_size=reference_batch_size)
    with vlm.learning():
        return loop.train(
            vlm.module,
            PathPreference(vlm, clips, beta=settings.beta_critic, nll_weight=settings.nll_weight),
            batches=_batches(shown, gaps, places),
            settings=settings,
            checkpoint_folder=checkpoint_folder,
            seed=seed,
            watch=watch,
            on_step=on_step,
        )


def _places(
    num_pairs: int,
    num_anchors: int,
    shares: tuple[float, float],
    settings: CriticPreference,
    seed: int,
) -> Callable[[int], list[int]]:
    """Return a function from a step to the places of its preferences, both orders side by side."""
    indices = mixed(
        num_pairs,
        num_anchors,
        shares=shares,
        num_steps=settings.max_train_steps,
        batch_size=settings.train_batch_size // 2,
        seed=seed,
    )

    return lambda step: [place for n in indices(step) for place in (2 * n, 2 * n + 1)]


def _batches(
    pairs: Mapping[int, PathPair], gaps: Mapping[int, float], indices: Callable[[int], list[int]]
) -> Callable[[int], dict[str, Any]]:
    """Return a function from a step to its pairs with their reference gaps."""

    def batch(step: int) -> dict[str, Any]:
        chosen = ranks.share(indices(step))
        return {
            "ids": [pairs[i].ask.item_id for i in chosen],
            "pairs": [pairs[i] for i in chosen],
            "reference_gaps": [gaps[i] for i in chosen],
        }

    return batch


def _under_exchanged_captions(
    pairs: Sequence[PathPair], settings: CriticPreference, captionless: Collection[str], seed: int
) -> list[PathPair]:
    """Return the pairs, some of them under another pair's caption (`caption_exchange`)."""
    asks = [pair.ask for pair in pairs]
    shown = exchanged(
        asks,
        [ask.caption for ask in asks],
        captionless=captionless,
        share=settings.caption_exchange_share,
        seed=seeds.derive(seed, "captions"),
    )
    return [replace(pair, ask=ask) for pair, ask in zip(pairs, shown, strict=True)]


def _reference_gaps(
    vlm: TrainableVlm, pairs: Mapping[int, PathPair], *, clips: Clips, batch_size: int
) -> dict[int, float]:
    """Return log pi_0(winner) - log pi_0(loser) of each pair, by its number."""
    asks = [pair.ask for pair in pairs.values()]
    winners, losers = (
        path_log_probs(vlm, asks, responses, clips=clips, batch_size=batch_size)
        for responses in (
            [pair.winner for pair in pairs.values()],
            [pair.loser for pair in pairs.values()],
        )
    )
    return {n: winner - loser for n, winner, loser in zip(pairs, winners, losers, strict=True)}
