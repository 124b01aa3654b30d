"""Calibration and its error, on data whose truth is known."""

import numpy as np
import pytest

from dualipo.critic.trust import calibration

METHODS = ["isotonic", "platt"]


def drawn(num, probability, seed=0):
    rng = np.random.default_rng(seed)
    certainties = rng.uniform(0.5, 1.0, num)
    hits = (rng.random(num) < probability(certainties)).astype(float)
    return certainties.tolist(), hits.tolist()


def test_error_is_zero_where_probability_is_accuracy_and_the_gap_where_not():
    assert calibration.expected_calibration_error([0.5, 0.5], [1.0, 0.0]) == 0.0
    assert calibration.expected_calibration_error([1.0] * 4, [1, 1, 1, 0]) == pytest.approx(0.25)
    two_bins = calibration.expected_calibration_error([0.95, 0.55, 0.55], [0.0, 1.0, 0.0])
    assert two_bins == pytest.approx((0.95 + 2 * 0.05) / 3)


@pytest.mark.parametrize("method", METHODS)
def test_a_boastful_critic_is_brought_down_to_its_accuracy(method):
    certainties, hits = drawn(2000, lambda c: 0.5 + 0.4 * (c - 0.5))  # 50 to 70 %, says 50 to 100
    raw = calibration.expected_calibration_error(certainties, hits)
    fitted = calibration.cross_fitted(certainties, hits, method=method)
    assert raw > 0.1 > 2 * calibration.expected_calibration_error(fitted, hits)


@pytest.mark.parametrize("method", METHODS)
def test_a_curve_rises_stays_a_probability_and_needs_no_library_to_be_read(method):
    certainties, hits = drawn(300, lambda c: c)
    curve = calibration.fit(certainties, hits, method=method)
    values = [curve.probability(c) for c in np.linspace(0.0, 1.5, 40)]
    assert values == sorted(values) and values[0] >= 0 and values[-1] <= 1
    assert values[-1] > values[0]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("hits", [[1.0] * 5, [0.0] * 5, [1.0], [0.5, 0.5]])
def test_few_and_one_sided_labels_make_a_curve_too(method, hits):
    certainties = [0.5 + 0.1 * n for n in range(len(hits))]
    curve = calibration.fit(certainties, hits, method=method)
    assert 0 <= curve.probability(0.7) <= 1
    assert len(calibration.cross_fitted(certainties, hits, method=method)) == len(hits)


def test_bins_cover_all_pairs_and_leave_out_the_empty():
    bins = calibration.reliability([0.05, 0.06, 1.0], [0.0, 1.0, 1.0])
    assert [(b.low, b.num, b.accuracy) for b in bins] == [(0.0, 2, 0.5), (0.9, 1, 1.0)]
