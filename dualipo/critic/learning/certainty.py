"""The Preference Certainty Estimator: PCE(y_w|x) = P(R_sft(y_w|x) > Q) (METHOD.md 3.2).

How an item's certainty is found:

1. R_sft(y_w|x) is the winning path's summed log-probability under the critic, minus that under the
   warm-start critic. It grows where training has made the critic surer of the path.
2. Q is the mean of R_sft over all items' first winning paths, the current pool.
3. PCE is the probability that R_sft lies above Q. The setting `pce` chooses how it is read:
   `gaussian`     Phi((R - Q) / std), with the pool's standard deviation
   `sigmoid`      sigmoid(tau (R - Q))
   `monte_carlo`  the share of the item's own winning paths with R > Q
4. `kept` takes the items above the threshold. PCE filters and weights; no gradient flows through.

Without any spread no item is more certain than another: PCE is 0.5, and a filter at 0.5 keeps
nothing (fault 32). That is the case when the critic still equals the warm-start critic.
"""

import math
import statistics
from collections.abc import Sequence

from dualipo.config import Srpo

ROUNDING = 1e-6  # a smaller spread of log-probabilities comes from rounding


def pce(ratios: Sequence[Sequence[float]], *, settings: Srpo) -> list[float]:
    """Return the PCE of each item; `ratios[i]` are R_sft of item i's winning paths, y_w first."""
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
    """Return the items strictly above the threshold, or all items without a filter."""
    return [
        item
        for item, certainty in enumerate(certainties)
        if not settings.pce_filter or certainty > settings.pce_threshold
    ]


def _sigmoid(value: float) -> float:
    return 0.5 * (1.0 + math.tanh(0.5 * value))
