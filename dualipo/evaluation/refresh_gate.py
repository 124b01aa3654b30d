"""Decides whether a refreshed critic serves: better, worse, or no difference seen (METHOD.md 5).

Both critics answer the same labels by forced choice. A lean is the log-odds with which a critic
chooses the label's verdict, so a negative one is a wrong answer. A label may have several leans, as
one for each order of its clips; it counts by their mean loss. The gate compares the log-losses
label by label, because they tell more than right and wrong. Before that each critic's leans are
scaled by one factor, fitted on the other half of the prompts: a critic must not lose because it is
merely surer than before. Labels of one prompt are alike, so the standard error is clustered by
prompt.

    worse           the loss rose by more than z * its standard error
    better          the loss fell by more than z * its standard error
    no difference   otherwise

z is that of a one-sided test at `FALSE_ALARM`. A refresh that changed nothing is called worse a
little more often, at most once in ten times, as an error estimated from few prompts is itself
uncertain (benchmarks/refresh_gate.py). How large a fall the labels can show (`detectable`) is
stated with every ruling, since "no difference" from few labels says nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike

from dualipo.errors import DataError

FALSE_ALARM = 0.085
POWER = 0.8
# So many labels show such a fall of accuracy, by benchmarks/refresh_gate.py: simulated critics of
# 75 % accuracy that differ in 14 % of their answers. It grows with the square of a smaller fall.
_SHOWN = (240, 0.04)
LEAST_PROMPTS = 4  # fewer tell nothing of how much prompts differ
_SCALES = np.geomspace(0.05, 20.0, 121)

Verdict = Literal["better", "no difference", "worse"]
Values = np.ndarray[Any, np.dtype[np.float64]]


@dataclass(frozen=True)
class Difference:
    """A mean paired difference, after minus before, with its standard error by prompt."""

    mean: float
    error: float

    @property
    def interval(self) -> tuple[float, float]:
        """The ends of the 83 % interval, on which the gate decides."""
        reach = _z(FALSE_ALARM) * self.error
        return self.mean - reach, self.mean + reach


@dataclass(frozen=True)
class Ruling:
    """The gate's verdict with its evidence.

    `loss` is in nats for each label, `accuracy` in shares of 1. `detectable` is the fall of
    accuracy that these labels call worse with probability `POWER`.
    """

    verdict: Verdict
    loss: Difference
    accuracy: Difference
    num_labels: int
    num_prompts: int
    detectable: float

    def labels_needed(self, fall: float) -> int:
        """Return how many labels of the same kind would show a `fall` of accuracy."""
        return int(np.ceil(self.num_labels * (self.detectable / fall) ** 2))


def labels_needed(fall: float) -> int:
    """Return about how many labels show a `fall` of accuracy, before any critic has answered."""
    num, shown = _SHOWN
    return int(np.ceil(num * (shown / fall) ** 2))


def rule(before: ArrayLike, after: ArrayLike, *, prompt_ids: Sequence[str]) -> Ruling:
    """Compare two critics' leans on the same labels, label by label.

    Leans are [labels], or [labels, answers] where each label has several.
    Raise DataError for fewer than four prompts, from which no error can be estimated.
    """
    leans = [np.asarray(values, np.float64) for values in (before, after)]
    nums = [len(lean_NO) for lean_NO in leans]
    if nums != [len(prompt_ids)] * 2:
        raise DataError(
            f"refresh gate: {nums[0]} and {nums[1]} leans for {len(prompt_ids)} labels. "
            "Both critics must answer the same labels."
        )
    clusters_N = np.unique(np.asarray(prompt_ids), return_inverse=True)[1]
    num_prompts = int(clusters_N.max(initial=-1)) + 1
    if num_prompts < LEAST_PROMPTS:
        raise DataError(
            f"refresh gate: the labels are of {num_prompts} prompts, at least {LEAST_PROMPTS} are "
            "needed. Raise monitor.num_audit_labels."
        )
    rows = [lean_NO.reshape(len(prompt_ids), -1) for lean_NO in leans]
    losses = [_losses(lean_NO, in_half_N=clusters_N % 2 == 0) for lean_NO in rows]
    hits = [_hits(lean_NO).mean(1) for lean_NO in rows]
    loss = _difference(losses[1] - losses[0], clusters_N)
    accuracy = _difference(hits[1] - hits[0], clusters_N)
    low, high = loss.interval
    verdict: Verdict = "worse" if low > 0 else "better" if high < 0 else "no difference"
    detectable = (_z(FALSE_ALARM) + _z(1 - POWER)) * accuracy.error
    return Ruling(verdict, loss, accuracy, len(clusters_N), num_prompts, detectable)


def accuracy(leans: ArrayLike) -> float:
    """Return the share of leans to the right verdict; no lean counts a half."""
    return float(_hits(np.asarray(leans, np.float64)).mean())


def mean_loss(leans: ArrayLike) -> float:
    """Return the mean log-loss in nats, of leans scaled by the factor that fits them best."""
    lean_N = np.asarray(leans, np.float64)
    return float(_log_loss(_best_scale(lean_N) * lean_N).mean())


def _hits(lean_NO: Values) -> Values:
    return np.asarray((lean_NO > 0) + 0.5 * (lean_NO == 0), np.float64)


def _losses(lean_NO: Values, *, in_half_N: np.ndarray) -> Values:
    """Return the log-loss of each label, scaled by the factor that fits the other half best."""
    loss_N = np.zeros(len(lean_NO))
    for half_N in (in_half_N, ~in_half_N):
        loss_N[half_N] = _log_loss(_best_scale(lean_NO[~half_N]) * lean_NO[half_N]).mean(1)
    return loss_N


def _best_scale(lean_NO: Values) -> float:
    losses_S = [_log_loss(scale * lean_NO).mean() for scale in _SCALES]
    return float(_SCALES[int(np.argmin(losses_S))])


def _log_loss(lean_NO: Values) -> Values:
    return np.logaddexp(0.0, -lean_NO)


def _difference(difference_N: Values, clusters_N: np.ndarray) -> Difference:
    mean = float(difference_N.mean())
    sums_P = np.bincount(clusters_N, weights=difference_N - mean)
    num = len(sums_P)
    variance = (sums_P**2).sum() / len(difference_N) ** 2 * num / (num - 1)
    return Difference(mean, float(np.sqrt(variance)))


def _z(tail: float) -> float:
    return NormalDist().inv_cdf(1 - tail)
