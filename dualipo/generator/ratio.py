"""The weights of the NLL terms, set by gradient norms (METHOD.md 4.4).

At beta 5000 a weight of 1 would be about a thousand times too weak, so each term is given a share
of the preference term's gradient norm. Norms are taken over the last quarter of the trainable
tensors: a fixed subset whose backward pass is short.
"""

import torch
from torch import Tensor, nn

from dualipo.training import optim


def gradient_norm(term: Tensor, weights: list[nn.Parameter]) -> float:
    """Norm of d term / d weights, 0 where the term does not depend on them; keeps the graph."""
    if not term.requires_grad:
        return 0.0
    gradients = torch.autograd.grad(term, weights, retain_graph=True, allow_unused=True)
    norms = [gradient.float().norm() for gradient in gradients if gradient is not None]
    return float(torch.stack(norms).norm()) if norms else 0.0


def nll_weights(
    module: nn.Module,
    *,
    preference: Tensor,
    winner_nll: Tensor,
    real_nll: Tensor,
    winner_ratio: float,
    real_ratio: float,
) -> tuple[float, float]:
    """lambda_1 and lambda_2, such that |lambda grad nll| = ratio |grad preference|.

    Without a preference term (weight 0, a control) the winners' NLL takes its place: lambda_1 is
    its ratio, lambda_2 keeps the two in proportion, and clipping sets the scale.
    """
    trainable = list(optim.trainable(module).values())
    weights = trainable[-max(1, len(trainable) // 4) :]
    winner_norm = gradient_norm(winner_nll, weights)
    real_norm = gradient_norm(real_nll, weights)
    base = gradient_norm(preference, weights) or winner_norm
    return _share(winner_ratio, base, winner_norm), _share(real_ratio, base, real_norm)


def _share(ratio: float, base: float, norm: float) -> float:
    return ratio * base / norm if norm else 0.0
