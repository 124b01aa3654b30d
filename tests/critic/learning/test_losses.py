import math

import pytest
import torch

from dualipo.critic.learning import losses


def loss(winner, loser, gap, weight=1.0, beta=0.1):
    margin = losses.path_margin(winner, loser, reference_gap_B=gap)
    return losses.path_dpo(margin, beta=beta, weight_B=torch.full_like(winner, weight)), margin


def test_at_the_reference_the_loss_is_pce_times_ln_2():
    winner, loser = torch.tensor([-30.0, -12.5]), torch.tensor([-31.0, -40.0])
    for pce in (1.0, 0.7):
        value, _ = loss(winner, loser, winner - loser, weight=pce)
        assert value.item() == pytest.approx(pce * math.log(2), rel=1e-6)


def test_swapping_winner_and_loser_negates_the_margin():
    winner, loser, gap = torch.tensor([-30.0]), torch.tensor([-35.0]), torch.tensor([2.0])
    assert torch.equal(loss(winner, loser, gap)[1], -loss(loser, winner, -gap)[1])


def test_gradient_at_the_reference_is_half_beta_and_none_flows_to_constants():
    winner = torch.tensor([-3.0], requires_grad=True)
    gap = torch.tensor([0.0], requires_grad=True)
    weight = torch.tensor([1.0], requires_grad=True)
    margin = losses.path_margin(winner, torch.tensor([-3.0]), reference_gap_B=gap)
    losses.path_dpo(margin, beta=0.1, weight_B=weight).backward()
    assert winner.grad.item() == pytest.approx(-0.05)
    assert gap.grad is None and weight.grad is None


@pytest.mark.parametrize("width", [0.0, 0.3, 2.0])
def test_ties_take_from_both_sides_what_rao_and_kupper_say(width):
    margin_B = torch.tensor([-3.0, 0.0, 0.7], dtype=torch.float64)
    width_B = torch.full_like(margin_B, width)
    log_probs_BV = losses.bradley_terry(margin_B, tie_width_B=width_B)
    swapped_BV = losses.bradley_terry(-margin_B, tie_width_B=width_B)
    assert torch.allclose(log_probs_BV.exp().sum(1), torch.ones(3).double())
    assert torch.allclose(log_probs_BV, swapped_BV.flip(1))
    theta = math.exp(width)
    assert log_probs_BV[1, 1].exp() == pytest.approx((theta - 1) / (theta + 1))
    if width == 0:
        assert torch.allclose(log_probs_BV[:, 0], torch.nn.functional.logsigmoid(margin_B))
