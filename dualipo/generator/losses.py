"""The denoising error and the losses of Diffusion-DPO and Diffusion-KTO (METHOD.md 4.1 to 4.3).

B is the batch.
"""

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor


def denoising_error(prediction: Tensor, target: Tensor) -> Tensor:
    """Return the squared error, mean over *all* non-batch axes, so a 5-D latent reduces to [B].

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


def reference_point(gains_B: Tensor) -> Tensor:
    """Return z0: the mean gain over the global batch, at least 0, detached, equal on all ranks.

    `gains_B` are this rank's whole share of the batch: with a micro batch's mean, the loss would
    depend on the size of micro batches.
    """
    total = torch.stack(
        [gains_B.detach().double().sum(), gains_B.new_tensor(len(gains_B)).double()]
    )
    if dist.is_available() and dist.is_initialized():
        dist.all_reduce(total)
    return (total[0] / total[1]).clamp(min=0.0).to(gains_B.dtype)


def kto_loss(
    gains_B: Tensor, *, signs_B: Tensor, z0: Tensor, weights_B: Tensor, beta: float
) -> tuple[Tensor, Tensor]:
    """Return loss_B and z_B from the gains g = -(L - Lref), each clip under noise of its own.

    z = s beta (g - z0), loss = w (1 - sigmoid(z)); s is 1 for a desirable clip, else -1.
    """
    z_B = signs_B * beta * (gains_B - z0)
    return weights_B * (1.0 - torch.sigmoid(z_B)), z_B
