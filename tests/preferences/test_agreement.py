"""Agreement against published examples and its own definition."""

import pytest

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


def test_alpha_at_its_ends():
    agreed = {str(n): {"a": n % 3, "b": n % 3} for n in range(9)}
    assert krippendorff_alpha(agreed) == krippendorff_alpha(agreed, metric="ordinal") == 1
    opposed = {str(n): {"a": n % 2, "b": 1 - n % 2} for n in range(10)}
    assert krippendorff_alpha(opposed) < -0.8
    alone = {str(n): {"a": n % 2} for n in range(4)}
    assert krippendorff_alpha(alone) is krippendorff_alpha({}) is None
    constant = {str(n): {"a": 1.0, "b": 1.0} for n in range(4)}
    assert krippendorff_alpha(constant) is None  # chance explains it all: nothing is invented


def test_ordinal_alpha_minds_how_far_apart_answers_are():
    near = {str(n): {"a": n % 3, "b": n % 3} for n in range(12)} | {"x": {"a": 0, "b": 1}}
    far = near | {"x": {"a": 0, "b": 2}}
    assert krippendorff_alpha(near, metric="ordinal") > krippendorff_alpha(far, metric="ordinal")


def test_kappa_is_the_textbook_one():
    table = [((1, 1), 20), ((1, 0), 5), ((0, 1), 10), ((0, 0), 15)]
    pairs = [pair for pair, count in table for _ in range(count)]
    assert cohen_kappa(pairs) == pytest.approx(0.4)
    assert cohen_kappa([(1, 1)] * 5) is cohen_kappa([]) is None
