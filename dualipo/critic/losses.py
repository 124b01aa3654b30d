"""Losses over reasoning paths (METHOD.md 3.2, 3.3). Legend: B items.

A path's log-probability is summed over its tokens; references are constants.
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
