"""Facts about the loss that hold for every backbone (METHOD.md 7)."""

import math

import pytest
import torch
from torch import Tensor

from dualipo.generator.losses import denoising_error, dpo_loss


@pytest.fixture
def errors() -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)
    names = ("policy_w", "policy_l", "reference_w", "reference_l")
    return {n: torch.rand(6, generator=generator, dtype=torch.float64) * 0.01 for n in names}


def swapped(errors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name[:-1] + {"w": "l", "l": "w"}[name[-1]]: value for name, value in errors.items()}


def test_error_is_the_mean_over_all_axes_but_the_batch() -> None:
    prediction, target = torch.randn(2, 3, 4, 5, 6, 7, dtype=torch.float64)
    plain = torch.stack(
        [((p - t) ** 2).sum() / (4 * 5 * 6 * 7) for p, t in zip(prediction, target, strict=True)]
    )
    torch.testing.assert_close(denoising_error(prediction, target), plain, rtol=0, atol=1e-9)
    assert denoising_error(prediction.bfloat16(), target.bfloat16()).dtype == torch.float32


def test_loss_is_ln_2_where_policy_equals_reference(errors: dict[str, Tensor]) -> None:
    w, low = errors["policy_w"], errors["policy_l"]
    loss, z = dpo_loss(w, policy_l=low, reference_w=w, reference_l=low, beta=500.0)
    assert torch.equal(z, torch.zeros_like(z))
    torch.testing.assert_close(loss, torch.full_like(loss, math.log(2)), rtol=0, atol=1e-12)


def test_derivative_in_the_gap_is_a_quarter_of_beta(errors: dict[str, Tensor]) -> None:
    w, low = errors["policy_w"].clone().requires_grad_(), errors["policy_l"]
    loss, _ = dpo_loss(w, policy_l=low, reference_w=w.detach(), reference_l=low, beta=500.0)
    (gradient,) = torch.autograd.grad(loss.sum(), w)
    torch.testing.assert_close(gradient, torch.full_like(w, 125.0))


def test_swapping_winner_and_loser_negates_z(errors: dict[str, Tensor]) -> None:
    _, z = dpo_loss(**errors, beta=500.0)
    _, z_swapped = dpo_loss(**swapped(errors), beta=500.0)
    torch.testing.assert_close(z, -z_swapped)


def test_beta_5000_with_the_half_equals_2500_without(errors: dict[str, Tensor]) -> None:
    gap = (errors["policy_w"] - errors["policy_l"]) - (
        errors["reference_w"] - errors["reference_l"]
    )
    plain = torch.log1p(torch.exp(2500.0 * gap))  # -log sigmoid(-x) = log(1 + exp(x))
    loss, _ = dpo_loss(**errors, beta=5000.0)
    torch.testing.assert_close(loss, plain, rtol=0, atol=1e-9)
