"""Facts about the loss that hold for every backbone (METHOD.md 7)."""

import math
from pathlib import Path

import pytest
import torch
from torch import Tensor

from dualipo.generator.losses import denoising_error, dpo_loss, kto_loss, reference_point
from tests import two_ranks


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


@pytest.fixture
def kto() -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(1)
    policy_B, reference_B = torch.rand(2, 7, generator=generator, dtype=torch.float64) * 0.01
    return {
        "policy": policy_B,
        "reference": reference_B,
        "signs": torch.tensor([1.0, -1, 1, 1, -1, 1, -1], dtype=torch.float64),
        "weights": torch.tensor([0.9, 1.2, 0.9, 0.9, 1.2, 0.9, 1.2], dtype=torch.float64),
    }


@pytest.mark.parametrize("shift", [0.0, 0.02])  # gains below and above 0 on average
def test_kto_agrees_with_the_formula_item_by_item(kto: dict[str, Tensor], shift: float) -> None:
    gains_B = kto["reference"] + shift - kto["policy"]
    z0 = reference_point(gains_B)
    loss_B, _ = kto_loss(
        gains_B, signs_B=kto["signs"], z0=z0, weights_B=kto["weights"], beta=1000.0
    )
    plain_z0 = max(0.0, sum(gains_B.tolist()) / 7)
    for n in range(7):
        g, s, w = (values[n].item() for values in (gains_B, kto["signs"], kto["weights"]))
        plain = w * (1 - 1 / (1 + math.exp(-s * 1000.0 * (g - plain_z0))))
        assert loss_B[n].item() == pytest.approx(plain, rel=0, abs=1e-9)


def test_kto_gradient_agrees_with_the_formula(kto: dict[str, Tensor]) -> None:
    policy_B = kto["policy"].clone().requires_grad_()
    gains_B = kto["reference"] + 0.01 - policy_B
    z0 = reference_point(gains_B)
    assert not z0.requires_grad and z0 > 0
    loss_B, z_B = kto_loss(
        gains_B, signs_B=kto["signs"], z0=z0, weights_B=kto["weights"], beta=100.0
    )
    (gradient_B,) = torch.autograd.grad(loss_B.sum(), policy_B)
    p_B = torch.sigmoid(z_B)  # d loss / d L = w s beta p (1 - p), the reference point being fixed
    plain_B = kto["weights"] * kto["signs"] * 100.0 * p_B * (1 - p_B)
    torch.testing.assert_close(gradient_B, plain_B, rtol=0, atol=1e-9)


SIZES = (3, 2, 3, 4, 2)  # batch, then a latent's axes: 48 numbers an item


def plain_error(prediction: Tensor, target: Tensor, item: int) -> float:
    pairs = zip(prediction[item].flatten().tolist(), target[item].flatten().tolist(), strict=True)
    return sum((p - t) ** 2 for p, t in pairs) / 48


def sigmoid(z: float) -> float:
    return 1 / (1 + math.exp(-z))


def require_gradient(
    computed: Tensor, slopes: list[float], prediction: Tensor, target: Tensor
) -> None:
    """Require d loss / d prediction = slope 2 (p - t) / 48; slope is d loss / d error."""
    for item, slope in enumerate(slopes):
        rows = (values[item].flatten().tolist() for values in (computed, prediction, target))
        for gradient, p, t in zip(*rows, strict=True):
            assert gradient == pytest.approx(slope * 2 * (p - t) / 48, rel=0, abs=1e-9)


def test_dpo_and_the_winners_nll_agree_with_plain_loops_and_their_gradients() -> None:
    generator = torch.Generator().manual_seed(4)
    winner, loser, winner_ref, loser_ref, target_w, target_l = torch.randn(
        6, *SIZES, generator=generator, dtype=torch.float64
    )
    winner.requires_grad_(), loser.requires_grad_()
    beta, weight = 7.0, 0.3
    error_w = denoising_error(winner, target_w)
    loss_B, _ = dpo_loss(
        error_w,
        policy_l=denoising_error(loser, target_l),
        reference_w=denoising_error(winner_ref, target_w),
        reference_l=denoising_error(loser_ref, target_l),
        beta=beta,
    )
    ((loss_B + weight * error_w).sum()).backward()
    slopes = []
    for item in range(3):
        policy = plain_error(winner, target_w, item) - plain_error(loser, target_l, item)
        reference = plain_error(winner_ref, target_w, item) - plain_error(loser_ref, target_l, item)
        z = -0.5 * beta * (policy - reference)
        assert loss_B[item].item() == pytest.approx(-math.log(sigmoid(z)), rel=0, abs=1e-9)
        assert error_w[item].item() == pytest.approx(
            plain_error(winner, target_w, item), rel=0, abs=1e-9
        )
        slopes.append(0.5 * beta * sigmoid(-z))
    assert winner.grad is not None and loser.grad is not None
    require_gradient(winner.grad, [slope + weight for slope in slopes], winner, target_w)
    require_gradient(loser.grad, [-slope for slope in slopes], loser, target_l)


def test_kto_agrees_with_plain_loops_and_its_gradient_on_predictions() -> None:
    generator = torch.Generator().manual_seed(5)
    policy, reference, target = torch.randn(3, *SIZES, generator=generator, dtype=torch.float64)
    policy = (0.7 * policy).requires_grad_()  # nearer to its target: a mean gain above 0
    signs, weights, beta = [1.0, -1.0, 1.0], [0.9, 1.2, 0.9], 3.0
    gains_B = denoising_error(reference, target) - denoising_error(policy, target)
    loss_B, _ = kto_loss(
        gains_B,
        signs_B=torch.tensor(signs),
        z0=reference_point(gains_B),
        weights_B=torch.tensor(weights, dtype=torch.float64),
        beta=beta,
    )
    loss_B.sum().backward()
    gains = [plain_error(reference, target, k) - plain_error(policy, target, k) for k in range(3)]
    z0 = max(0.0, sum(gains) / 3)
    assert z0 > 0
    slopes = []
    for item, (gain, sign, weight) in enumerate(zip(gains, signs, weights, strict=True)):
        p = sigmoid(sign * beta * (gain - z0))
        assert loss_B[item].item() == pytest.approx(weight * (1 - p), rel=0, abs=1e-9)
        slopes.append(weight * sign * beta * p * (1 - p))
    assert policy.grad is not None
    require_gradient(policy.grad, slopes, policy, target)


def test_kto_is_half_the_weight_where_policy_equals_reference(kto: dict[str, Tensor]) -> None:
    gains_B = torch.zeros(7, dtype=torch.float64)
    z0 = reference_point(gains_B)
    loss_B, z_B = kto_loss(
        gains_B, signs_B=kto["signs"], z0=z0, weights_B=kto["weights"], beta=1000.0
    )
    torch.testing.assert_close(loss_B, 0.5 * kto["weights"], rtol=0, atol=0)
    assert torch.equal(z_B, torch.zeros_like(z_B))


def test_the_reference_point_is_never_negative() -> None:
    assert reference_point(torch.tensor([-3.0, 1.0])).item() == 0.0
    assert reference_point(torch.tensor([3.0, 1.0])).item() == 2.0


def test_the_reference_point_is_the_same_on_one_rank_and_two(tmp_path: Path) -> None:
    gains_B = torch.rand(8, generator=torch.Generator().manual_seed(2), dtype=torch.float64)

    def compute(rank: int) -> None:
        share = gains_B[:3] if rank == 0 else gains_B[3:]
        torch.save(reference_point(share), tmp_path / f"{rank}.pt")

    two_ranks.act_in_two(compute, tmp_path)
    for rank in range(2):
        computed = torch.load(tmp_path / f"{rank}.pt", weights_only=True)
        torch.testing.assert_close(computed, gains_B.mean(), rtol=0, atol=1e-12)
