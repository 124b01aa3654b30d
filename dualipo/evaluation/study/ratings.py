"""Bradley-Terry ratings of several generators from wins and ties.

P(i beats j) = p_i / (p_i + p_j); a tie is half a win for each. The ratings are fitted by Hunter's
(2004) minorisation-maximisation, all resamples at once. One imagined tie between every two
generators keeps the rating finite of a generator that never lost; with a study's hundreds of
answers it hardly moves a rating. NGG: resamples, generators, generators; C: comparisons.
"""

from collections.abc import Sequence

import numpy as np

from dualipo.evaluation.bootstrap import Values

POINTS = 400 / np.log(10)  # so that 400 points are odds of ten to one
NUM_STEPS = 300


def wins(
    places: Sequence[tuple[int, int]], scores_C: Values, weights_NC: Values, *, num: int
) -> Values:
    """Return the weighted wins of i over j, [resamples, generators, generators]."""
    wins_NGG = np.zeros((len(weights_NC), num, num))
    for place in sorted(set(places)):
        own = [n for n, other in enumerate(places) if other == place]
        first, second = place
        wins_NGG[:, first, second] = weights_NC[:, own] @ scores_C[own]
        wins_NGG[:, second, first] = weights_NC[:, own] @ (1 - scores_C[own])
    return wins_NGG


def bradley_terry(wins_NGG: Values, *, imagined_ties: float = 1.0) -> Values:
    """Return ratings in points around a mean of zero, [resamples, generators]."""
    others_GG = 1 - np.eye(wins_NGG.shape[1])
    wins_NGG = (wins_NGG + 0.5 * imagined_ties) * others_GG
    games_NGG = wins_NGG + wins_NGG.transpose(0, 2, 1)
    won_NG = wins_NGG.sum(axis=2)
    strength_NG = np.ones_like(won_NG)
    for _ in range(NUM_STEPS):
        sums_NGG = strength_NG[:, :, None] + strength_NG[:, None, :]
        strength_NG = won_NG / (games_NGG / sums_NGG).sum(axis=2)
        strength_NG /= np.exp(np.log(strength_NG).mean(axis=1, keepdims=True))
    ratings_NG: Values = POINTS * np.log(strength_NG)
    return ratings_NG
