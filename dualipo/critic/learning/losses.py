"""Losses over reasoning paths (METHOD.md 3.2, 3.3), and the likelihood of a preference.

A path's log-probability is summed over its tokens; references are constants. Legend: B items,
V verdicts (A, tie, B).
"""

import torch
from torch import Tensor


def path_margin(winner_B: Tensor, loser_B: Tensor, *, reference_gap_B: Tensor) -> Tensor:
    """Return R_0(y_w) - R_0(y_l); the reference's gap is log pi_0(y_w) - log pi_0(y_l)."""
    return winner_B - loser_B - reference_gap_B.detach()


def path_dpo(margin_B: Tensor, *, beta: float, weight_B: Tensor) -> Tensor:
    """Average weight * -log sigmoid(beta * margin): DPO with weight 1, SRPO with weight PCE."""
    return (weight_B.detach() * -torch.nn.functional.logsigmoid(beta * margin_B)).mean()


def sequence_nll(log_probs_B: Tensor, *, num_tokens_B: Tensor) -> Tensor:
    """Average over the items the mean negative log-probability of a response's tokens."""
    return (-log_probs_B / num_tokens_B).mean()


def bradley_terry(margin_B: Tensor, *, tie_width_B: Tensor) -> Tensor:
    """Return log-probabilities [B, V] of A, tie and B from reward A minus reward B.

    In Rao and Kupper's model P(A) = sigmoid(margin - width), P(B) = sigmoid(-margin - width), and a
    tie has the rest, which is (exp(2 width) - 1) P(A) P(B). With width 0 there are no ties, and
    the model is Bradley and Terry's.
    """
    a_B = torch.nn.functional.logsigmoid(margin_B - tie_width_B)
    b_B = torch.nn.functional.logsigmoid(-margin_B - tie_width_B)
    tie_B = torch.expm1(2 * tie_width_B).log() + a_B + b_B
    return torch.stack([a_B, tie_B, b_B], -1)
