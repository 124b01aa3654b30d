"""Calibration: a critic's certainty as the probability that it is right (METHOD.md section 3).

The curve is fitted on held-out labels with scikit-learn (isotonic regression, or Platt's logistic
curve) and kept as plain numbers, which are used without it. Leaves out calibration by dimension,
because held-out labels are few.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from dualipo.errors import ConfigError

Method = Literal["isotonic", "platt"]


@dataclass(frozen=True)
class Calibration:
    """A fitted curve: lines between `knots` (isotonic), or `slope` and `intercept` (Platt)."""

    method: Method
    knots: tuple[tuple[float, float], ...] = ()
    slope: float = 0.0
    intercept: float = 0.0

    def probability(self, certainty: float) -> float:
        """Return how likely the critic is right where it has this certainty."""
        if self.method == "platt":
            return 0.5 * (1 + math.tanh(0.5 * (self.slope * certainty + self.intercept)))
        places, heights = zip(*self.knots, strict=True)
        return float(np.interp(certainty, places, heights))


@dataclass(frozen=True)
class Bin:
    """A column of the reliability diagram: the pairs with a probability from `low` to `high`."""

    low: float
    high: float
    num: int
    mean_probability: float
    accuracy: float


def fit(certainties: Sequence[float], hits: Sequence[float], *, method: Method) -> Calibration:
    """Fit a curve to certainties and hits: 1 is right, 0 is wrong, 0.5 has no lean."""
    assert len(certainties) == len(hits) > 0
    try:
        from sklearn.isotonic import IsotonicRegression
        from sklearn.linear_model import LogisticRegression
    except ImportError as missing:
        raise ConfigError(
            "calibration: scikit-learn is not installed. Install it with "
            "`pip install dualipo[calibration]`."
        ) from missing
    places, right = np.asarray(certainties, dtype=float), np.asarray(hits, dtype=float)
    if method == "isotonic":
        curve = IsotonicRegression(y_min=0.0, y_max=1.0, out_of_bounds="clip").fit(places, right)
        knots = zip(curve.X_thresholds_.tolist(), curve.y_thresholds_.tolist(), strict=True)
        return Calibration("isotonic", tuple(knots))
    decided = right != 0.5
    if len(set(right[decided].tolist())) < 2:  # no curve separates what is all right or all wrong
        share = float(np.clip(right.mean(), 0.01, 0.99))
        return Calibration("platt", intercept=math.log(share / (1 - share)))
    line = LogisticRegression().fit(places[decided, None], right[decided])
    return Calibration("platt", slope=float(line.coef_[0, 0]), intercept=float(line.intercept_[0]))


def cross_fitted(
    certainties: Sequence[float], hits: Sequence[float], *, method: Method
) -> list[float]:
    """Return probabilities, each from a curve fitted to the other half of the pairs.

    So no curve is judged on the pairs that it was fitted to.
    """
    halves = [range(0, len(hits), 2), range(1, len(hits), 2)]
    probabilities = [0.5] * len(hits)
    for half, other_half in zip(halves, halves[::-1], strict=True):
        if not other_half:
            continue
        curve = fit(
            [certainties[n] for n in other_half], [hits[n] for n in other_half], method=method
        )
        for n in half:
            probabilities[n] = curve.probability(certainties[n])
    return probabilities


def reliability(
    probabilities: Sequence[float], hits: Sequence[float], *, num_bins: int = 10
) -> list[Bin]:
    """Make the reliability diagram: bins of equal width over [0, 1], empty ones left out."""
    places = [min(num_bins - 1, int(p * num_bins)) for p in probabilities]
    bins = []
    for place in sorted(set(places)):
        inside = [n for n, other in enumerate(places) if other == place]
        bins.append(
            Bin(
                low=place / num_bins,
                high=(place + 1) / num_bins,
                num=len(inside),
                mean_probability=math.fsum(probabilities[n] for n in inside) / len(inside),
                accuracy=math.fsum(hits[n] for n in inside) / len(inside),
            )
        )
    return bins


def expected_calibration_error(
    probabilities: Sequence[float], hits: Sequence[float], *, num_bins: int = 10
) -> float:
    """Average |accuracy - mean probability| over the bins, each weighted by its pairs."""
    bins = reliability(probabilities, hits, num_bins=num_bins)
    total = sum(column.num for column in bins)
    gaps = [column.num * abs(column.accuracy - column.mean_probability) for column in bins]
    return math.fsum(gaps) / total
