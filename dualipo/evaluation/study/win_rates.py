"""The win rates of a blind study: which generator people prefer, and how sure that is.

People compare clips of the same prompts and seeds without knowing who made them (`dualipo study`).
A comparison counts 1 for a win, 1/2 for a tie and 0 for a loss; the win rate is their mean. Its
interval resamples prompts **and** annotators, each whole and with replacement (Owen's pigeonhole
bootstrap), since answers about one prompt are alike, and so are those of one person. The interval
is rather too wide than too narrow. Abstentions are counted and left out. "overall" is a question of
its own, not a mean.

Left out: tests of significance and corrections for many comparisons; read the intervals together.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from dualipo.errors import DataError
from dualipo.evaluation.bootstrap import LEVEL, Interval, Values
from dualipo.evaluation.study import ratings
from dualipo.store.label_records import StandingAnswer

NUM_RESAMPLES = 2000
SCORES = {"a": 1.0, "tie": 0.5, "b": 0.0}


@dataclass(frozen=True, slots=True)
class Comparison:
    """One person's answer; `score` is 1 where the first generator won, 1/2 for a tie."""

    prompt_id: str
    annotator: str
    dimension: str
    first: str
    second: str
    score: float


Answers = dict[str, list[Comparison]]  # by dimension


@dataclass(frozen=True, slots=True)
class Result:
    """The result of two generators in one dimension; the wins and win rate are the first's."""

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
    """The result of a study: counts, win rates and ratings."""

    generators: tuple[str, ...]
    dimensions: tuple[str, ...]
    num_prompts: int
    num_annotators: int
    num_answers: int
    num_abstained: int
    results: tuple[Result, ...]
    ratings: tuple[Rating, ...]


def evaluate(given: Sequence[StandingAnswer], *, dimensions: Sequence[str], seed: int = 0) -> Study:
    """Compute the win rates of every two generators, and ratings where there are more than two."""
    counted = [answer for answer in given if not answer.is_test and answer.kind == "pair"]
    compared = list(comparisons(counted))
    if not compared:
        raise DataError(
            "no comparison yet: ask people with `dualipo study ask`, then repeat the command."
        )
    generators = tuple(sorted({name for pair in compared for name in (pair.first, pair.second)}))
    resamples = Resamples(compared, seed=seed)
    by_dimension = {d: [c for c in compared if c.dimension == d] for d in dimensions}
    return Study(
        generators=generators,
        dimensions=tuple(dimensions),
        num_prompts=len({answer.prompt_id for answer in compared}),
        num_annotators=len({answer.annotator for answer in compared}),
        num_answers=len(compared),
        num_abstained=len(counted) - len(compared),
        results=tuple(_results(by_dimension, generators, resamples)),
        ratings=tuple(_ratings(by_dimension, generators, resamples)),
    )


def comparisons(given: Sequence[StandingAnswer]) -> Iterator[Comparison]:
    """Yield the answers that prefer a clip or tie, their generators in alphabetical order."""
    for answer in given:
        if answer.outcome not in SCORES or answer.origin_a == answer.origin_b:
            continue
        score = SCORES[answer.outcome]
        names = (answer.origin_a, answer.origin_b)
        if names[0] > names[1]:
            names, score = (names[1], names[0]), 1 - score
        yield Comparison(answer.prompt_id, answer.annotator, answer.dimension, *names, score)


class Resamples:
    """Draws of prompts and of people, shared by all numbers of a study."""

    def __init__(
        self, compared: Sequence[Comparison], *, seed: int = 0, num: int = NUM_RESAMPLES
    ) -> None:
        rng = np.random.default_rng(seed)
        self._prompts = _numbered(answer.prompt_id for answer in compared)
        self._people = _numbered(answer.annotator for answer in compared)
        self._prompts_NP = _draws(rng, len(self._prompts), num)
        self._people_NA = _draws(rng, len(self._people), num)

    def weights(self, compared: Sequence[Comparison]) -> Values:
        """Return how often each comparison is drawn, [resamples, comparisons]."""
        prompts = [self._prompts[answer.prompt_id] for answer in compared]
        people = [self._people[answer.annotator] for answer in compared]
        weights_NC: Values = self._prompts_NP[:, prompts] * self._people_NA[:, people]
        return weights_NC

    def interval(self, mean: float, values_N: Values, *, num: int) -> Interval:
        """Return an interval from resampled values; draws without any comparison are left out."""
        known_N = values_N[np.isfinite(values_N)]
        low, high = np.quantile(known_N, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
        return Interval(mean, float(low), float(high), num)


def _numbered(names: Iterable[str]) -> dict[str, int]:
    return {name: n for n, name in enumerate(sorted(set(names)))}


def _draws(rng: np.random.Generator, num_clusters: int, num: int) -> Values:
    share = np.full(num_clusters, 1 / num_clusters)
    counts: Values = rng.multinomial(num_clusters, share, size=num).astype(np.float64)
    return counts


def _results(
    by_dimension: Answers, generators: Sequence[str], resamples: Resamples
) -> Iterator[Result]:
    for dimension, answers in by_dimension.items():
        for first, second in combinations(generators, 2):
            own = [answer for answer in answers if (answer.first, answer.second) == (first, second)]
            if own:
                yield _result(dimension, first, second, own, resamples)


def _result(
    dimension: str, first: str, second: str, own: Sequence[Comparison], resamples: Resamples
) -> Result:
    scores_C = np.array([answer.score for answer in own])
    weights_NC = resamples.weights(own)
    with np.errstate(invalid="ignore"):
        rates_N = weights_NC @ scores_C / weights_NC.sum(axis=1)
    num_prompts = len({answer.prompt_id for answer in own})
    wins, ties, losses = (int((scores_C == score).sum()) for score in (1.0, 0.5, 0.0))
    rate = resamples.interval(float(scores_C.mean()), rates_N, num=num_prompts)
    return Result(dimension, first, second, wins, ties, losses, rate)


def _ratings(
    by_dimension: Answers, generators: Sequence[str], resamples: Resamples
) -> Iterator[Rating]:
    if len(generators) < 3:
        return  # between two generators the win rate says everything
    for dimension, own in by_dimension.items():
        if not own:
            continue
        places = [(generators.index(c.first), generators.index(c.second)) for c in own]
        scores_C = np.array([answer.score for answer in own])
        weights_NC = np.vstack([np.ones(len(own)), resamples.weights(own)])
        wins_NGG = ratings.wins(places, scores_C, weights_NC, num=len(generators))
        ratings_NG = ratings.bradley_terry(wins_NGG)
        for n, name in enumerate(generators):
            mean, others_N = float(ratings_NG[0, n]), ratings_NG[1:, n]
            num = len({answer.prompt_id for answer in own})
            yield Rating(dimension, name, resamples.interval(mean, others_N, num=num))
