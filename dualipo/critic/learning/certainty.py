"""The Preference Certainty Estimator: PCE(y_w|x) = P(R_sft(y_w|x) > Q) (METHOD.md 3.2).

R_sft is the winning path's summed log-probability under the critic minus that under the warm-start
critic, Q its mean over the pool. Three readings of the probability: `gaussian` Phi((R-Q)/std) over
the pool, `sigmoid` of tau (R-Q), `monte_carlo` the part of an item's winning paths with R > Q.
Without any spread nothing is more certain than anything else: PCE is 0.5, and a filter at 0.5
keeps nothing (fault 32).
"""

import math
import statistics
from collections.abc import Sequence

from dualipo.config import Srpo

ROUNDING = 1e-6  # a smaller spread of log-probabilities is none


def pce(ratios: Sequence[Sequence[float]], *, settings: Srpo) -> list[float]:
    """PCE of each item; `ratios[i]` are R_sft of item i's winning paths, its y_w first."""
    if not ratios:
        return []
    firsts = [paths[0] for paths in ratios]
    mean, spread = statistics.fmean(firsts), statistics.pstdev(firsts)
    if spread < ROUNDING:
        return [0.5] * len(firsts)
    if settings.pce == "gaussian":
        return [statistics.NormalDist().cdf((r - mean) / spread) for r in firsts]
    if settings.pce == "sigmoid":
        return [_sigmoid(settings.pce_tau * (r - mean)) for r in firsts]
    return [sum(r > mean for r in paths) / len(paths) for paths in ratios]


def kept(certainties: Sequence[float], *, settings: Srpo) -> list[int]:
    """The items that pass the filter, strictly above the threshold; all without a filter."""
    return [
        item
        for item, certainty in enumerate(certainties)
        if not settings.pce_filter or certainty > settings.pce_threshold
    ]


def _sigmoid(value: float) -> float:
    return 0.5 * (1.0 + math.tanh(0.5 * value))
