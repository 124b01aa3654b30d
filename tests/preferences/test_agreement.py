"""Tests agreement against published examples, other packages, and its own definition."""

import random

import krippendorff
import numpy as np
import pytest
from sklearn.metrics import cohen_kappa_score

from dualipo.preferences.agreement import cohen_kappa, krippendorff_alpha

# Krippendorff, "Computing Krippendorff's Alpha-Reliability" (2011): four observers, twelve units.
OBSERVERS = {
    "A": "1 2 3 3 2 1 4 1 2 . . .",
    "B": "1 2 3 3 2 2 4 1 2 5 . 3",
    "C": ". 3 3 3 2 3 4 2 2 5 1 .",
    "D": "1 2 3 3 2 4 4 1 2 5 1 .",
}


def published_units() -> dict[str, dict[str, float]]:
    units: dict[str, dict[str, float]] = {}
    for name, answers in OBSERVERS.items():
        for unit, answer in enumerate(answers.split()):
            if answer != ".":
                units.setdefault(str(unit), {})[name] = float(answer)
    return units


@pytest.mark.parametrize(("metric", "alpha"), [("nominal", 0.743), ("ordinal", 0.815)])
def test_alpha_is_the_published_one(metric, alpha):
    assert krippendorff_alpha(published_units(), metric=metric) == pytest.approx(alpha, abs=5e-4)


@pytest.mark.parametrize("metric", ["nominal", "ordinal"])
def test_alpha_is_the_one_of_the_package_krippendorff(metric):
    for seed in range(100):
        rng = random.Random(seed)
        table = np.full((rng.randint(2, 5), rng.randint(4, 30)), np.nan)
        for place in np.ndindex(table.shape):
            if rng.random() < 0.7:
                table[place] = rng.choice([0, 1, 2])
        units = {
            str(unit): {str(n): answer for n, answer in enumerate(answers) if answer == answer}
            for unit, answers in enumerate(table.T)
        }
        expected = krippendorff.alpha(reliability_data=table, level_of_measurement=metric)
        assert krippendorff_alpha(units, metric=metric) == pytest.approx(expected, abs=1e-12)


def test_kappa_is_the_one_of_scikit_learn():
    for seed in range(100):
        rng = random.Random(seed)
        pairs = [(0, 1)] + [(rng.choice([0, 1, 2]), rng.choice([0, 1, 2])) for _ in range(20)]
        expected = cohen_kappa_score(*zip(*pairs, strict=True))
        assert cohen_kappa(pairs) == pytest.approx(expected, abs=1e-12)


def test_alpha_at_its_ends():
    agreed = {str(n): {"a": n % 3, "b": n % 3} for n in range(9)}
    assert krippendorff_alpha(agreed) == krippendorff_alpha(agreed, metric="ordinal") == 1
    opposed = {str(n): {"a": n % 2, "b": 1 - n % 2} for n in range(10)}
    assert krippendorff_alpha(opposed) < -0.8
    alone = {str(n): {"a": n % 2} for n in range(4)}
    assert krippendorff_alpha(alone) is krippendorff_alpha({}) is None
    constant = {str(n): {"a": 1.0, "b": 1.0} for n in range(4)}
    assert krippendorff_alpha(constant) is None  # chance alone explains it


def test_ordinal_alpha_minds_how_far_apart_answers_are():
    near = {str(n): {"a": n % 3, "b": n % 3} for n in range(12)} | {"x": {"a": 0, "b": 1}}
    far = near | {"x": {"a": 0, "b": 2}}
    assert krippendorff_alpha(near, metric="ordinal") > krippendorff_alpha(far, metric="ordinal")


def test_kappa_is_the_textbook_one():
    table = [((1, 1), 20), ((1, 0), 5), ((0, 1), 10), ((0, 0), 15)]
    pairs = [pair for pair, count in table for _ in range(count)]
    assert cohen_kappa(pairs) == pytest.approx(0.4)
    assert cohen_kappa([(1, 1)] * 5) is cohen_kappa([]) is None
