import pytest

from dualipo.config import Srpo
from dualipo.critic.learning import certainty

RATIOS = [[-3.0, 2.0], [0.0, 1.0], [1.0, 1.0], [6.0, -9.0]]


def test_gaussian_and_sigmoid_keep_the_same_set_and_the_mean_is_half():
    for reading in ("gaussian", "sigmoid"):
        settings = Srpo(pce=reading)
        values = certainty.pce(RATIOS, settings=settings)
        assert values[2] == pytest.approx(0.5) and values == sorted(values)
        assert certainty.kept(values, settings=settings) == [3]


def test_monte_carlo_counts_winning_paths_above_the_mean():
    assert certainty.pce(RATIOS, settings=Srpo(pce="monte_carlo")) == [0.5, 0.0, 0.0, 0.5]


@pytest.mark.parametrize("reading", ["gaussian", "sigmoid", "monte_carlo"])
def test_fault_32_zero_spread_is_half_and_keeps_nothing(reading):
    settings = Srpo(pce=reading)
    values = certainty.pce([[0.0], [0.0], [0.0]], settings=settings)
    assert values == [0.5, 0.5, 0.5]
    assert certainty.kept(values, settings=settings) == []
    assert certainty.kept(values, settings=Srpo(pce_filter=False)) == [0, 1, 2]
    assert certainty.pce([], settings=settings) == []


def test_extreme_ratios_are_finite():
    assert certainty.pce([[-1e9], [1e9]], settings=Srpo(pce="sigmoid")) == [0.0, 1.0]
