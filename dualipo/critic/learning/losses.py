"""Losses over reasoning paths (METHOD.md 3.2, 3.3), and of preferences between two rewards.

A path's log-probability is summed over its tokens; references are constants. Legend: B items,
V verdicts (A, tie, B).
"""

import torch
from torch import Tensor


def path_margin(winner_B: Tensor, loser_B: Tensor, *, reference_gap_B: Tensor) -> Tensor:
    """R_0(y_w) - R_0(y_l), where the gap is log pi_0(y_w) - log pi_0(y_l)."""
    return winner_B - loser_B - reference_gap_B.detach()


def path_dpo(margin_B: Tensor, *, beta: float, weight_B: Tensor) -> Tensor:
    """Mean of weight * -log sigmoid(beta * margin): DPO with weight 1, SRPO with weight PCE."""
    return (weight_B.detach() * -torch.nn.functional.logsigmoid(beta * margin_B)).mean()


def sequence_nll(log_probs_B: Tensor, *, num_tokens_B: Tensor) -> Tensor:
    """Mean over items of the mean negative log-probability of a response token."""
    return (-log_probs_B / num_tokens_B).mean()


def bradley_terry(margin_B: Tensor, *, tie_width_B: Tensor) -> Tensor:
    """Log-probabilities [B, V] of A, tie and B (Rao and Kupper) from reward A minus reward B.

    P(A) = sigmoid(margin - width), P(B) = sigmoid(-margin - width), and a tie is what is left:
    (exp(2 width) - 1) P(A) P(B). Width 0 knows no ties and is Bradley and Terry's model.
    """
    a_B = torch.nn.functional.logsigmoid(margin_B - tie_width_B)
    b_B = torch.nn.functional.logsigmoid(-margin_B - tie_width_B)
    tie_B = torch.expm1(2 * tie_width_B).log() + a_B + b_B
    return torch.stack([a_B, tie_B, b_B], -1)
