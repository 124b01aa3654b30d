"""Confidence intervals: how far a number may be off, given the prompts that were drawn.

The bootstrap resamples **whole prompts** with replacement, never single clips: clips of one prompt
are alike, and counting them as independent makes intervals too narrow. A paired difference
resamples prompts too, each with its clips of both runs, so that a prompt's difficulty cancels.
The intervals are percentiles; the draws depend on `seed` alone, so that a report's numbers repeat.
With few prompts the resamples know too little of the spread: of four prompts' differences that all
have one sign, none holds zero. Under `FEW` prompts an interval shows nothing, and pages say so.

Left out: bias-corrected (BCa) intervals, and any variance of the training run itself: one run is
one draw, and only runs with other seeds can show that.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from statistics import NormalDist
from typing import Any

import numpy as np

from dualipo.errors import DataError

NUM_RESAMPLES = 4000
LEVEL = 0.95
FEW = 10  # prompts under which resampling them says too little
_CHUNK = 500  # resamples drawn at once, to bound memory with thousands of prompts

Values = np.ndarray[Any, np.dtype[np.float64]]


@dataclass(frozen=True, slots=True)
class Interval:
    """A number with the ends of its interval; `num_clusters` prompts were resampled for it."""

    mean: float
    low: float
    high: float
    num_clusters: int

    @property
    def excludes_zero(self) -> bool:
        """True where the interval holds no zero, so that a difference is shown."""
        return self.is_enough and (self.low > 0 or self.high < 0)

    @property
    def is_enough(self) -> bool:
        """True where enough prompts were resampled for the ends to mean anything."""
        return self.num_clusters >= FEW

    def ends(self, write: Callable[[float], str]) -> str:
        """Return both ends in words, or how many prompts are too few for them."""
        if not self.is_enough:
            return f"{self.num_clusters} prompts: too few to say"
        return f"{write(self.low)} to {write(self.high)}"


def clustered_mean(
    values: Sequence[float],
    *,
    clusters: Sequence[str],
    seed: int = 0,
    num_resamples: int = NUM_RESAMPLES,
    level: float = LEVEL,
) -> Interval:
    """Return the mean over all values, with an interval from resampling their prompts (`clusters`).

    Each resample draws as many prompts as there are, with replacement, and takes the mean over all
    values of the drawn prompts.
    """
    if len(values) != len(clusters):
        raise DataError(
            f"{len(values)} scores for {len(clusters)} prompt ids. Give each score its prompt's id."
        )
    grouped = _group(values, clusters)
    return _interval(grouped, seed=seed, num_resamples=num_resamples, level=level)


def paired_difference(
    before: Mapping[str, Sequence[float]],
    after: Mapping[str, Sequence[float]],
    *,
    seed: int = 0,
    num_resamples: int = NUM_RESAMPLES,
    level: float = LEVEL,
) -> Interval:
    """Return the mean over prompts of (after's mean - before's mean), with its interval.

    Both mappings hold scores by prompt id. Every prompt weighs the same, however many clips of it
    each run has.
    """
    if before.keys() != after.keys():
        unpaired = sorted(before.keys() ^ after.keys())
        raise DataError(
            f"{len(unpaired)} prompts are in one run only ({', '.join(unpaired[:3])}, ...). A "
            "paired difference needs the same prompts: score both runs on one prompt list."
        )
    differences = {
        prompt_id: [_mean(after[prompt_id], prompt_id) - _mean(before[prompt_id], prompt_id)]
        for prompt_id in sorted(before)
    }
    return _interval(differences, seed=seed, num_resamples=num_resamples, level=level)


def by_prompt(values: Sequence[float], prompt_ids: Sequence[str]) -> dict[str, list[float]]:
    """Group values by prompt id, as `paired_difference` takes them."""
    grouped: dict[str, list[float]] = {}
    for value, prompt_id in zip(values, prompt_ids, strict=True):
        grouped.setdefault(prompt_id, []).append(value)
    return grouped


def wilson(num_correct: float, num: int, *, level: float = LEVEL) -> Interval:
    """Return Wilson's interval for an accuracy of `num_correct` out of `num` independent labels."""
    if num < 1 or not 0 <= num_correct <= num:
        raise DataError(
            f"{num_correct} correct of {num}: no such accuracy exists. Check the labels."
        )
    share = num_correct / num
    z = NormalDist().inv_cdf((1 + level) / 2)
    scale = 1 + z * z / num
    centre = (share + z * z / (2 * num)) / scale
    reach = z / scale * (share * (1 - share) / num + z * z / (4 * num * num)) ** 0.5
    # At 0 and 1 an end equals the share; rounding must not put it beyond.
    return Interval(share, min(share, centre - reach), max(share, centre + reach), num)


def chance_reach(num: int) -> float:
    """Return how far chance moves a share of `num` answers of which half are expected."""
    half = wilson(num / 2, num)
    return half.high - half.mean


def _interval(
    grouped: Mapping[str, Sequence[float]], *, seed: int, num_resamples: int, level: float
) -> Interval:
    if len(grouped) < 2:
        raise DataError(
            f"{len(grouped)} prompts: an interval over prompts needs at least 2. Raise "
            "prompts.num_test_prompts."
        )
    sums_P = np.array([np.sum(values) for values in grouped.values()], np.float64)
    counts_P = np.array([len(values) for values in grouped.values()], np.float64)
    if not np.isfinite(sums_P).all():
        raise DataError("a score is not finite, so no mean can be given. Repeat the evaluation.")
    low, high = _ends(sums_P.tobytes(), counts_P.tobytes(), seed, num_resamples, level)
    mean = sums_P.sum() / counts_P.sum()
    return Interval(float(mean), low, high, len(grouped))


@lru_cache(maxsize=1024)
def _ends(
    sums: bytes, counts: bytes, seed: int, num_resamples: int, level: float
) -> tuple[float, float]:
    """Return the ends of an interval, cached: a page shows the same interval in several places."""
    sums_P, counts_P = (np.frombuffer(values, np.float64) for values in (sums, counts))
    means_N = _resampled_means(sums_P, counts_P, seed=seed, num_resamples=num_resamples)
    low, high = np.quantile(means_N, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def _resampled_means(sums_P: Values, counts_P: Values, *, seed: int, num_resamples: int) -> Values:
    rng = np.random.default_rng(seed)
    share_P = np.full(len(sums_P), 1 / len(sums_P))
    chunks = []
    for start in range(0, num_resamples, _CHUNK):
        num_draws = min(_CHUNK, num_resamples - start)
        # Counts of how often each prompt is drawn, which is the same as drawing with replacement.
        drawn_NP = rng.multinomial(len(sums_P), share_P, size=num_draws)
        chunks.append((drawn_NP @ sums_P) / (drawn_NP @ counts_P))
    return np.concatenate(chunks)


def _group(values: Sequence[float], clusters: Sequence[str]) -> dict[str, list[float]]:
    # Sorted, so that the order of the rows does not move the interval.
    return dict(sorted(by_prompt(values, clusters).items()))


def _mean(values: Sequence[float], prompt_id: str) -> float:
    if not len(values):
        raise DataError(f"prompt {prompt_id}: no score. Repeat the evaluation of its clips.")
    return float(np.mean(values))
