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
    """Norm of each term's gradient over the whole batch; `terms` gives a micro batch's means."""
    trainable = list(optim.trainable(module).values())
    weights = trainable[-max(1, len(trainable) // 4) :]
    num = sum(len(part["ids"]) for part in micro_batches)
    shares = [len(part["ids"]) / num for part in micro_batches]
    if ranks.num_ranks() > 1:
        return _norms_by_backward(module, weights, micro_batches, shares, terms)
    sums: list[dict[int, Tensor]] = []
    for part, share in zip(micro_batches, shares, strict=True):
        found = [_gradients(share * term, weights) for term in terms(part)]
        sums = [_added(*two) for two in zip(sums, found, strict=True)] if sums else found
    return [_norm(list(gradients.values())) for gradients in sums]


def _gradients(term: Tensor, weights: list[nn.Parameter]) -> dict[int, Tensor]:
    """d term / d weights by place, without those that it does not depend on; keeps the graph."""
    if not term.requires_grad:
        return {}
    found = torch.autograd.grad(term, weights, retain_graph=True, allow_unused=True)
    return {n: gradient for n, gradient in enumerate(found) if gradient is not None}


def _added(first: dict[int, Tensor], second: dict[int, Tensor]) -> dict[int, Tensor]:
    both = {n: first[n] + second[n] for n in first.keys() & second.keys()}
    return {**first, **second, **both}


def _norm(gradients: list[Tensor]) -> float:
    norms_ = [gradient.float().norm() for gradient in gradients]
    return float(torch.stack(norms_).norm()) if norms_ else 0.0


def gradient_norm(term: Tensor, weights: list[nn.Parameter]) -> float:
    """Norm of d term / d weights, 0 where the term does not depend on them; keeps the graph."""
    return _norm(list(_gradients(term, weights).values()))


def _norms_by_backward(
    module: nn.Module,
    weights: list[nn.Parameter],
    micro_batches: Sequence[Batch],
    shares: list[float],
    terms: Callable[[Batch], tuple[Tensor, ...]],
) -> list[float]:
    """FSDP2 gives gradients to a backward pass only, to all weights, and once a forward pass."""
    found: list[float] = []
    num_terms = 1
    while len(found) < num_terms:
        module.zero_grad()
        for part, share in zip(micro_batches, shares, strict=True):
            some = terms(part)
            num_terms = len(some)
            if some[len(found)].requires_grad:
                (share * some[len(found)]).backward()
        summed = [weight.grad for weight in weights if weight.grad is not None]
        norm = torch.nn.utils.get_total_norm(summed) if summed else torch.zeros(())
        found.append(float(ranks.whole(norm)))
    module.zero_grad()
    return found


def nll_weights(
    *,
    base_norm: float,
    winner_norm: float,
    real_norm: float,
    winner_ratio: float,
    real_ratio: float,
    former: tuple[float, float],
) -> tuple[float, float]:
    """lambda_1 and lambda_2, such that |lambda grad nll| = ratio |grad base|; `former` where a norm
    is 0: the step held nothing to measure by.

    The base is the preference term. Without one (weight 0, a control) it is the winners' NLL:
    lambda_1 is its ratio, lambda_2 keeps the two in proportion, and clipping sets the scale.
    """
    return (
        _share(winner_ratio, base_norm, winner_norm, former[0]),
        _share(real_ratio, base_norm, real_norm, former[1]),
    )


def _share(ratio: float, base: float, norm: float, former: float) -> float:
    return ratio * base / norm if base and norm else former
