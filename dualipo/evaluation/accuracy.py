"""The accuracy of a critic on labelled pairs (FORMATS.md, evaluation interchange).

`videoalign` follows VideoAlign's calculation, so that its numbers can stand beside published ones:
with ties, a pair whose |margin| is at most some width counts as called a tie; every |margin| is
tried as that width, and the best accuracy is reported (the smallest |margin| is always a tie).
Without ties, pairs labelled a tie are left out, and a margin of exactly zero is wrong. Where
several pairs share one |margin|, VideoAlign also tries to call only some of them ties, by row
order; here all pairs within a width are ties.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from dualipo.errors import DataError
from dualipo.records import Verdict

_SIGNS: dict[str, int] = {"a": 1, "b": -1, "tie": 0}


def videoalign(
    labels: Mapping[str, Sequence[Verdict]], margins: Mapping[str, Sequence[float]]
) -> dict[str, dict[str, float]]:
    """Return VideoAlign's result, accuracies with and without ties by dimension.

    `{"motion Accuracy": {"with_ties": ..., "without_ties": ...}}` is its form.
    """
    return {
        f"{dimension} Accuracy": {
            "with_ties": accuracy_with_ties(labels[dimension], margins[dimension]),
            "without_ties": accuracy_without_ties(labels[dimension], margins[dimension]),
        }
        for dimension in labels
    }


def accuracy_with_ties(labels: Sequence[Verdict], margins: Sequence[float]) -> float:
    """Return the best accuracy over all tie widths; within the width the answer is "tie"."""
    signs_P, margins_P = _arrays(labels, margins)
    order_P = np.argsort(np.abs(margins_P), kind="stable")
    widths_P = np.abs(margins_P)[order_P]
    right_if_tied_P = np.cumsum(signs_P[order_P] == 0)
    right_if_not_P = np.cumsum((signs_P * margins_P)[order_P] > 0)
    num_right_P = right_if_tied_P + right_if_not_P[-1] - right_if_not_P
    is_width_P = np.append(widths_P[1:] > widths_P[:-1], True)
    return float(num_right_P[is_width_P].max() / len(num_right_P))


def accuracy_without_ties(labels: Sequence[Verdict], margins: Sequence[float]) -> float:
    """Return the accuracy over the pairs that are not labelled a tie."""
    signs_P, margins_P = _arrays(labels, margins)
    decided_P = signs_P != 0
    if not decided_P.any():
        raise DataError(
            "all labels are ties: an accuracy without ties needs other labels. Add some."
        )
    return float(np.mean((signs_P * margins_P)[decided_P] > 0))


def _arrays(labels: Sequence[Verdict], margins: Sequence[float]) -> tuple[np.ndarray, np.ndarray]:
    if not labels or len(labels) != len(margins):
        raise DataError(f"{len(labels)} labels for {len(margins)} margins. Give one to each.")
    if unknown := sorted(set(labels) - _SIGNS.keys()):
        raise DataError(f"labels {unknown} name neither A, B nor a tie. Drop and count those rows.")
    if not np.isfinite(margins).all():
        raise DataError("a margin is not finite. Leave the pair out and count it.")
    return np.array([_SIGNS[label] for label in labels]), np.asarray(margins, np.float64)
