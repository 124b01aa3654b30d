"""Preference accuracy: by hand where ties matter, and no answer where none follows."""

import numpy as np
import pytest

from dualipo.errors import DataError
from dualipo.evaluation.accuracy import accuracy_with_ties, accuracy_without_ties, videoalign
from dualipo.records import Verdict


def test_with_ties_finds_the_best_width_and_without_ties_drops_them() -> None:
    labels: list[Verdict] = ["a", "b", "tie", "tie", "a"]
    margins = [2.0, -1.5, 0.1, -0.4, -3.0]
    # Width 0.4 calls both ties and leaves one error; any wider width loses a right answer.
    assert accuracy_with_ties(labels, margins) == 4 / 5
    assert accuracy_without_ties(labels, margins) == 2 / 3
    assert videoalign({"motion": labels}, {"motion": margins}) == {
        "motion Accuracy": {"with_ties": 4 / 5, "without_ties": 2 / 3}
    }


def test_the_smallest_margin_is_always_a_tie_and_zero_is_wrong() -> None:
    assert accuracy_with_ties(["a", "b"], [1.0, -2.0]) == 1 / 2
    assert accuracy_without_ties(["a", "b"], [0.0, -2.0]) == 1 / 2


def test_with_ties_equals_trying_every_width() -> None:
    rng = np.random.default_rng(0)
    names: tuple[Verdict, ...] = ("tie", "a", "b")
    signs_P = rng.integers(-1, 2, size=60)
    margins_P = np.round(signs_P * 0.5 + rng.normal(size=60), 1)  # rounded: shared widths
    tried = [
        np.mean(np.where(np.abs(margins_P) <= width, 0, np.sign(margins_P)) == signs_P)
        for width in np.abs(margins_P)
    ]
    labels = [names[sign] for sign in signs_P]
    assert accuracy_with_ties(labels, margins_P.tolist()) == pytest.approx(max(tried))


def test_labels_that_allow_no_accuracy_are_refused() -> None:
    with pytest.raises(DataError, match="all labels are ties"):
        accuracy_without_ties(["tie"], [1.0])
    with pytest.raises(DataError, match="abstain"):
        accuracy_with_ties(["abstain"], [1.0])
    with pytest.raises(DataError, match="not finite"):
        accuracy_with_ties(["a"], [float("nan")])
    with pytest.raises(DataError, match="1 labels for 0 margins"):
        accuracy_with_ties(["a"], [])
