"""The blind study: which of two or more generators do people prefer, and how sure is that?

People compare clips of the same prompts and seeds without knowing who made them (`dualipo study`).
A comparison counts 1 for a win, 1/2 for a tie and 0 for a loss; the win rate is their mean. Its
interval resamples prompts **and** annotators, each whole and with replacement (Owen's pigeonhole
bootstrap): answers about one prompt are alike, and so are those of one person. It errs on the wide
side. Abstentions are counted and left out. "overall" is a question of its own, not a mean.

Left out: tests of significance and corrections for many comparisons; read the intervals together.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np

from dualipo.errors import DataError
from dualipo.evaluation.bootstrap import LEVEL, Interval
from dualipo.evaluation.study import ratings
from dualipo.store.label_records import Given

NUM_RESAMPLES = 2000
SCORES = {"a": 1.0, "tie": 0.5, "b": 0.0}

Array = np.ndarray[Any, np.dtype[np.float64]]


@dataclass(frozen=True, slots=True)
class Comparison:
    """One person's answer: `score` is what `first` got of it."""

    prompt_id: str
    annotator: str
    dimension: str
    first: str
    second: str
    score: float


@dataclass(frozen=True, slots=True)
class Result:
    """A pair of generators in one dimension; wins are the first's."""

    dimension: str
    first: str
    second: str
    wins: int
    ties: int
    losses: int
    win_rate: Interval


@dataclass(frozen=True, slots=True)
class Rating:
    """A generator's Bradley-Terry rating in one dimension; 400 points are odds of ten to one."""

    dimension: str
    generator: str
    rating: Interval


@dataclass(frozen=True)
class Study:
    """All that the answers say."""

    generators: tuple[str, ...]
    dimensions: tuple[str, ...]
    num_prompts: int
    num_annotators: int
    num_answers: int
    num_abstained: int
    results: tuple[Result, ...]
    ratings: tuple[Rating, ...]


def evaluate(given: Sequence[Given], *, dimensions: Sequence[str], seed: int = 0) -> Study:
    """Win rates of every two generators, and ratings where there are more than two."""
    asked = [one for one in given if not one.is_test and one.kind == "pair"]
    found = list(comparisons(asked))
    if not found:
        raise DataError("no comparison yet: ask people with `dualipo study ask`, then repeat.")
    generators = tuple(sorted({name for one in found for name in (one.first, one.second)}))
    resamples = Resamples(found, seed=seed)
    return Study(
        generators=generators,
        dimensions=tuple(dimensions),
        num_prompts=len({one.prompt_id for one in found}),
        num_annotators=len({one.annotator for one in found}),
        num_answers=len(found),
        num_abstained=len(asked) - len(found),
        results=tuple(_results(found, generators, dimensions, resamples)),
        ratings=tuple(_ratings(found, generators, dimensions, resamples)),
    )


def comparisons(given: Sequence[Given]) -> Iterator[Comparison]:
    """Answers that prefer or tie, with the generators in alphabetical order."""
    for one in given:
        if one.outcome not in SCORES or one.origin_a == one.origin_b:
            continue
        score = SCORES[one.outcome]
        names = (one.origin_a, one.origin_b)
        if names[0] > names[1]:
            names, score = (names[1], names[0]), 1 - score
        yield Comparison(one.prompt_id, one.annotator, one.dimension, *names, score)


class Resamples:
    """Draws of prompts and of people, the same for all numbers of a study."""

    def __init__(
        self, found: Sequence[Comparison], *, seed: int = 0, num: int = NUM_RESAMPLES
    ) -> None:
        rng = np.random.default_rng(seed)
        self._prompts = _numbered(one.prompt_id for one in found)
        self._people = _numbered(one.annotator for one in found)
        self._prompts_NP = _draws(rng, len(self._prompts), num)
        self._people_NA = _draws(rng, len(self._people), num)

    def weights(self, found: Sequence[Comparison]) -> Array:
        """How often each comparison is drawn, [resamples, comparisons]."""
        prompts = [self._prompts[one.prompt_id] for one in found]
        people = [self._people[one.annotator] for one in found]
        weights_NC: Array = self._prompts_NP[:, prompts] * self._people_NA[:, people]
        return weights_NC

    def interval(self, mean: float, values_N: Array, *, num: int) -> Interval:
        """Percentiles of the resampled values; draws without any comparison say nothing."""
        known_N = values_N[np.isfinite(values_N)]
        low, high = np.quantile(known_N, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
        return Interval(mean, float(low), float(high), num)


def _numbered(names: Iterable[str]) -> dict[str, int]:
    return {name: n for n, name in enumerate(sorted(set(names)))}


def _draws(rng: np.random.Generator, num_clusters: int, num: int) -> Array:
    share = np.full(num_clusters, 1 / num_clusters)
    drawn: Array = rng.multinomial(num_clusters, share, size=num).astype(np.float64)
    return drawn


def _results(
    found: Sequence[Comparison],
    generators: Sequence[str],
    dimensions: Sequence[str],
    resamples: Resamples,
) -> Iterator[Result]:
    for dimension in dimensions:
        for first, second in combinations(generators, 2):
            place = (dimension, first, second)
            own = [one for one in found if (one.dimension, one.first, one.second) == place]
            if own:
                yield _result(*place, own, resamples)


def _result(
    dimension: str, first: str, second: str, own: Sequence[Comparison], resamples: Resamples
) -> Result:
    scores_C = np.array([one.score for one in own])
    weights_NC = resamples.weights(own)
    with np.errstate(invalid="ignore"):
        rates_N = weights_NC @ scores_C / weights_NC.sum(axis=1)
    num_prompts = len({one.prompt_id for one in own})
    wins, ties, losses = (int((scores_C == score).sum()) for score in (1.0, 0.5, 0.0))
    rate = resamples.interval(float(scores_C.mean()), rates_N, num=num_prompts)
    return Result(dimension, first, second, wins, ties, losses, rate)


def _ratings(
    found: Sequence[Comparison],
    generators: Sequence[str],
    dimensions: Sequence[str],
    resamples: Resamples,
) -> Iterator[Rating]:
    if len(generators) < 3:
        return  # of two, the win rate says all
    for dimension in dimensions:
        own = [one for one in found if one.dimension == dimension]
        if not own:
            continue
        places = [(generators.index(one.first), generators.index(one.second)) for one in own]
        scores_C = np.array([one.score for one in own])
        weights_NC = np.vstack([np.ones(len(own)), resamples.weights(own)])
        wins_NGG = ratings.wins(places, scores_C, weights_NC, num=len(generators))
        ratings_NG = ratings.bradley_terry(wins_NGG)
        for n, name in enumerate(generators):
            mean, others_N = float(ratings_NG[0, n]), ratings_NG[1:, n]
            num = len({one.prompt_id for one in own})
            yield Rating(dimension, name, resamples.interval(mean, others_N, num=num))
