"""The instrument tells the worth of critics whose worth is known."""

import random
from dataclasses import replace

import pytest

from dualipo.evaluation import headroom
from dualipo.evaluation.headroom import Judged


def judged(num: int, *, right: float, sure: float, path: float, seed: int = 0) -> list[Judged]:
    """Make labels of which soft votes are right in `right`, the surer half always in `sure`."""
    rng = random.Random(seed)
    made = []
    for n in range(num):
        is_sure = n % 2 == 0
        hit = rng.random() < (sure if is_sure else 2 * right - sure)
        certainty = 0.9 if is_sure else 0.6
        soft = certainty if hit else 1 - certainty
        rights = {"hard votes": soft, "soft votes": soft, "forced choice": soft}
        paths = [float(rng.random() < path) for _ in range(8)]
        made.append(Judged(f"p{n // 3}", "motion", rights, paths, 0.25))
    return made


def test_accuracy_precision_by_coverage_and_calibration_are_those_of_the_critic() -> None:
    rows = headroom.rows(judged(3000, right=0.7, sure=0.9, path=0.57))
    assert {row.dimension for row in rows} == {"all", "motion"}
    by_reading = {row.reading: row for row in rows if row.dimension == "all"}
    soft, path = by_reading["soft votes"], by_reading["one path"]
    assert soft.accuracy.low < 0.7 < soft.accuracy.high
    assert soft.precision[0.5] == pytest.approx(0.9, abs=0.03)
    assert soft.calibration == pytest.approx((0 + abs(0.6 - 0.5)) / 2, abs=0.03)
    assert path.accuracy.mean == pytest.approx(0.57, abs=0.02) and path.calibration is None


def test_a_perfectly_calibrated_critic_has_no_calibration_error() -> None:
    rights = [0.75] * 75 + [0.25] * 25
    assert headroom.calibration_error(rights) == pytest.approx(0)
    assert headroom.calibration_error([0.99] * 50 + [0.01] * 50) == pytest.approx(0.49)


@pytest.mark.parametrize(
    ("right", "sure", "path", "said"),
    [
        (0.7, 0.9, 0.57, "has something to teach"),
        (0.6, 0.6, 0.6, "know no more than single paths"),
        (0.5, 0.5, 0.5, "nothing to learn from"),
    ],
)
def test_what_a_refresh_may_expect_is_said_in_words(
    right: float, sure: float, path: float, said: str
) -> None:
    told = headroom.expectation(judged(2000, right=right, sure=sure, path=path), margin=0.02)
    assert any(said in line for line in told)
    assert any("25.0% of right paths" in line for line in told)
    assert "about 960 labels" in told[-1] and "read them with care" not in told[-1]
    few = headroom.expectation(judged(30, right=right, sure=sure, path=path), margin=0.02)
    assert "These are 30, so read them with care." in few[-1]


def test_dimensions_of_the_runs_own_questions_have_their_rows() -> None:
    own = [replace(each, dimension="physics") for each in judged(4, right=0.7, sure=0.9, path=0.6)]
    mixed = [*own, *judged(4, right=0.7, sure=0.9, path=0.6)]
    assert list(dict.fromkeys(row.dimension for row in headroom.rows(mixed))) == [
        *("all", "motion", "physics")
    ]


def test_the_table_names_every_reading() -> None:
    text = headroom.table(judged(60, right=0.7, sure=0.9, path=0.6))
    assert len(text.splitlines()) == 1 + 2 * len(headroom.READINGS)
    assert "surest 25%" in text.splitlines()[0]
    assert "too few to say" in headroom.table(judged(3, right=0.7, sure=0.9, path=0.6))
