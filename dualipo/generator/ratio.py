"""The weights of the NLL terms, set by gradient norms (METHOD.md 4.4).

At beta 5000 a weight of 1 would be about a thousand times too weak, so each term is given a share
of the preference term's gradient norm. Norms are taken over the last quarter of the trainable
tensors: a fixed subset whose backward pass is short.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from dualipo.training import optim, ranks


def norms(module: nn.Module, terms: Callable[[], tuple[Tensor, ...]]) -> list[float]:
    """Norm of each term's gradient; `terms` makes their graph.

    FSDP2 gives gradients to a backward pass only, to all weights, and once a forward pass.
    """
    trainable = list(optim.trainable(module).values())
    weights = trainable[-max(1, len(trainable) // 4) :]
    if ranks.num_ranks() == 1:
        return [gradient_norm(term, weights) for term in terms()]
    return [_norm_by_backward(module, weights, terms, n) for n in range(len(terms()))]


def _norm_by_backward(
    module: nn.Module, weights: list[nn.Parameter], terms: Callable[[], tuple[Tensor, ...]], n: int
) -> float:
    module.zero_grad()
    term = terms()[n]
    if not term.requires_grad:
        return 0.0
    term.backward()
    found = [weight.grad for weight in weights if weight.grad is not None]
    norm = float(ranks.whole(torch.nn.utils.get_total_norm(found))) if found else 0.0
    module.zero_grad()
    return norm


def gradient_norm(term: Tensor, weights: list[nn.Parameter]) -> float:
    """Norm of d term / d weights, 0 where the term does not depend on them; keeps the graph."""
    if not term.requires_grad:
        return 0.0
    gradients = torch.autograd.grad(term, weights, retain_graph=True, allow_unused=True)
    norms = [gradient.float().norm() for gradient in gradients if gradient is not None]
    return float(torch.stack(norms).norm()) if norms else 0.0


def nll_weights(
    *,
    preference_norm: float,
    winner_norm: float,
    real_norm: float,
    winner_ratio: float,
    real_ratio: float,
) -> tuple[float, float]:
    """lambda_1 and lambda_2, such that |lambda grad nll| = ratio |grad preference|.

    Without a preference term (weight 0, a control) the winners' NLL takes its place: lambda_1 is
    its ratio, lambda_2 keeps the two in proportion, and clipping sets the scale.
    """
    base = preference_norm or winner_norm
    return _share(winner_ratio, base, winner_norm), _share(real_ratio, base, real_norm)


def _share(ratio: float, base: float, norm: float) -> float:
    return ratio * base / norm if norm else 0.0
