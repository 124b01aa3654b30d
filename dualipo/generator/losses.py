"""The denoising error and the Diffusion-DPO loss (METHOD.md 4.1 and 4.2).

B is the batch. Leaves out Diffusion-KTO (METHOD.md 4.3).
"""

import torch
import torch.nn.functional as F
from torch import Tensor


def denoising_error(prediction: Tensor, target: Tensor) -> Tensor:
    """Squared error, mean over *all* non-batch axes, so that a 5-D latent reduces to [B].

    Low precisions are widened first: beta multiplies the difference of two such means by hundreds.
    """
    precision = torch.promote_types(prediction.dtype, torch.float32)
    return (prediction.to(precision) - target.to(precision)).square().flatten(1).mean(1)


def dpo_loss(
    policy_w: Tensor, *, policy_l: Tensor, reference_w: Tensor, reference_l: Tensor, beta: float
) -> tuple[Tensor, Tensor]:
    """Return loss_B and z_B from the four denoising errors [B] under one noise and level a pair.

    z = -0.5 beta [(L_w - L_l) - (Lref_w - Lref_l)], loss = -log sigmoid(z). diffusers' script
    omits the 0.5, so that its beta 2500 is 5000 here.
    """
    z_B = -0.5 * beta * ((policy_w - policy_l) - (reference_w - reference_l))
    return -F.logsigmoid(z_B), z_B
