"""The weights of the NLL terms, set by gradient norms (METHOD.md 4.4).

At beta 5000 a weight of 1 would be about a thousand times too weak, so each term is given a share
of the preference term's gradient norm. Norms are those of the whole batch's gradient, over the last
quarter of the trainable tensors: a fixed subset whose backward pass is short.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from dualipo.training import optim, ranks

Batch = dict[str, Any]


def norms(
    module: nn.Module, micro_batches: Sequence[Batch], terms: Callable[[Batch], tuple[Tensor, ...]]
) -> list[float]:
    """Return the norm of each term's gradient over the whole batch.

    `terms` returns the terms of a micro batch, each the mean over its items.
    """
    trainable = list(optim.trainable(module).values())
    weights = trainable[-max(1, len(trainable) // 4) :]
    num = sum(len(part["ids"]) for part in micro_batches)
    shares = [len(part["ids"]) / num for part in micro_batches]
    if ranks.num_ranks() > 1:
        return _norms_by_backward(module, weights, micro_batches, shares, terms)
    sums: list[dict[int, Tensor]] = []
    for part, share in zip(micro_batches, shares, strict=True):
        gradients = [_gradients(share * term, weights) for term in terms(part)]
        sums = [_added(*two) for two in zip(sums, gradients, strict=True)] if sums else gradients
    return [_norm(list(by_place.values())) for by_place in sums]


def _gradients(term: Tensor, weights: list[nn.Parameter]) -> dict[int, Tensor]:
    """Differentiate the term by each weight, by its place; keep the graph.

    A weight that the term does not depend on is left out.
    """
    if not term.requires_grad:
        return {}
    gradients = torch.autograd.grad(term, weights, retain_graph=True, allow_unused=True)
    return {n: gradient for n, gradient in enumerate(gradients) if gradient is not None}


def _added(first: dict[int, Tensor], second: dict[int, Tensor]) -> dict[int, Tensor]:
    both = {n: first[n] + second[n] for n in first.keys() & second.keys()}
    return {**first, **second, **both}


def _norm(gradients: list[Tensor]) -> float:
    norms_ = [gradient.float().norm() for gradient in gradients]
    return float(torch.stack(norms_).norm()) if norms_ else 0.0


def _norms_by_backward(
    module: nn.Module,
    weights: list[nn.Parameter],
    micro_batches: Sequence[Batch],
    shares: list[float],
    terms: Callable[[Batch], tuple[Tensor, ...]],
) -> list[float]:
    """Return the norms where the weights are sharded over ranks: one backward pass a term.

    FSDP2 gives gradients to a backward pass only, to all weights, and once a forward pass.
    """
    term_norms: list[float] = []
    num_terms = 1
    while len(term_norms) < num_terms:
        module.zero_grad()
        for part, share in zip(micro_batches, shares, strict=True):
            part_terms = terms(part)
            num_terms = len(part_terms)
            term = part_terms[len(term_norms)]
            if term.requires_grad:
                (share * term).backward()
        summed = [weight.grad for weight in weights if weight.grad is not None]
        norm = torch.nn.utils.get_total_norm(summed) if summed else torch.zeros(())
        term_norms.append(float(ranks.whole(norm)))
    module.zero_grad()
    return term_norms


def nll_weights(
    *,
    base_norm: float,
    winner_norm: float,
    real_norm: float,
    winner_ratio: float,
    real_ratio: float,
    former: tuple[float, float],
) -> tuple[float, float]:
    """Return lambda_1 and lambda_2, such that |lambda grad nll| = ratio |grad base|.

    Where a norm is 0, the step held nothing to measure by: `former` stands. The base is the
    preference term. Without one (weight 0, a control) it is the winners' NLL: lambda_1 is its
    ratio, lambda_2 keeps the two in proportion, and clipping sets the scale.
    """
    return (
        _share(winner_ratio, base_norm, winner_norm, former[0]),
        _share(real_ratio, base_norm, real_norm, former[1]),
    )


def _share(ratio: float, base: float, norm: float, former: float) -> float:
    return ratio * base / norm if base and norm else former
