"""The study's numbers against simulation and closed forms."""

import numpy as np
import pytest

from dualipo.errors import ConfigError, DataError
from dualipo.evaluation.study import ratings, study_size, win_rates
from dualipo.store.label_records import StandingAnswer

DIMENSIONS = ("consistency", "overall")


def answers(
    strengths: dict[str, float],
    *,
    num_prompts: int = 40,
    people: int = 4,
    ties: float = 0.0,
    seed: int = 0,
) -> list[StandingAnswer]:
    """Make everybody compare every two generators on every prompt, by Bradley-Terry strengths."""
    rng, names = np.random.default_rng(seed), sorted(strengths)
    given = []
    for prompt in range(num_prompts):
        for n, first in enumerate(names):
            for second in names[n + 1 :]:
                for person in range(people):
                    chance = strengths[first] / (strengths[first] + strengths[second])
                    outcome = "a" if rng.random() < chance else "b"
                    if rng.random() < ties:
                        outcome = "tie"
                    is_turned = rng.random() < 0.5  # which one is the item's A says nothing
                    given.append(
                        _given(first, second, f"p{prompt}", f"person{person}", outcome, is_turned)
                    )
    return given


def _given(
    first: str, second: str, prompt: str, person: str, outcome: str, is_turned: bool
) -> StandingAnswer:
    if is_turned:
        first, second = second, first
        outcome = {"a": "b", "b": "a"}.get(outcome, outcome)
    item = (f"{prompt}{first}{second}", "pair", prompt, "caption", "x", "y", first, second, 0, {})
    return StandingAnswer(0, person, "task", "overall", outcome, "", 1.0, False, False, *item)


def test_counts_and_win_rate():
    study = win_rates.evaluate(answers({"new": 3.0, "old": 1.0}, ties=0.2), dimensions=DIMENSIONS)
    (result,) = study.results
    assert (result.dimension, result.first, result.second) == ("overall", "new", "old")
    assert result.wins + result.ties + result.losses == study.num_answers == 160
    assert result.win_rate.mean == pytest.approx((result.wins + result.ties / 2) / 160)
    assert 0.5 < result.win_rate.low < result.win_rate.mean < result.win_rate.high < 0.9
    assert not study.ratings, "of two generators the win rate says all"


def test_the_names_of_the_sides_do_not_matter():
    given = answers({"new": 2.0, "old": 1.0})
    turned = [
        _given(g.origin_a, g.origin_b, g.prompt_id, g.annotator, g.outcome, True) for g in given
    ]
    assert win_rates.evaluate(given, dimensions=DIMENSIONS).results == (
        win_rates.evaluate(turned, dimensions=DIMENSIONS).results
    )


def test_intervals_cover_the_truth_and_mind_the_clusters():
    covered = []
    for seed in range(60):
        (result,) = win_rates.evaluate(
            answers({"a": 1.5, "b": 1.0}, num_prompts=30, seed=seed), dimensions=DIMENSIONS
        ).results
        covered.append(result.win_rate.low <= 0.6 <= result.win_rate.high)
    assert np.mean(covered) >= 0.93
    # Copies of the same people's answers about the same prompts are no new evidence.
    given = answers({"a": 1.5, "b": 1.0}, num_prompts=30)
    once, thrice = (win_rates.evaluate(given * k, dimensions=DIMENSIONS).results[0] for k in (1, 3))
    assert once.win_rate == thrice.win_rate and thrice.wins == 3 * once.wins


def test_bradley_terry_finds_the_strengths_it_was_drawn_from():
    strengths = {"a": 1.0, "b": 2.0, "c": 8.0}
    given = answers(strengths, num_prompts=400, people=2)
    rating_of = {
        r.generator: r.rating for r in win_rates.evaluate(given, dimensions=DIMENSIONS).ratings
    }
    assert sum(rating.mean for rating in rating_of.values()) == pytest.approx(0, abs=1e-6)
    gap = rating_of["c"].mean - rating_of["b"].mean
    assert gap == pytest.approx(400 * np.log10(4), abs=35)
    assert rating_of["a"].high < rating_of["b"].low < rating_of["b"].high < rating_of["c"].low


def test_bradley_terry_of_two_is_the_log_odds():
    wins_NGG = np.array([[[0.0, 30.0], [10.0, 0.0]]])
    ((first, second),) = ratings.bradley_terry(wins_NGG, imagined_ties=0)
    assert first - second == pytest.approx(400 * np.log10(3), abs=1e-6)
    ((winner, loser),) = ratings.bradley_terry(np.array([[[0.0, 9.0], [0.0, 0.0]]]))
    assert np.isfinite(winner) and winner > loser


def test_the_size_has_the_power_it_promises():
    size = study_size.smallest_study(0.6, ties=0.2, answers_per_prompt=1, power=0.8)
    rng = np.random.default_rng(0)
    wins, ties = 0.6 - 0.1, 0.2
    scores = rng.choice(
        [1.0, 0.5, 0.0], p=[wins, ties, 1 - wins - ties], size=(4000, size.num_answers)
    )
    error = np.sqrt((1 - ties) / 4 / size.num_answers)
    assert np.mean(abs(scores.mean(axis=1) - 0.5) > 1.96 * error) == pytest.approx(0.8, abs=0.03)


def test_size_grows_with_likeness_and_small_differences():
    def num(win_rate: float, **more: float) -> int:
        return study_size.smallest_study(win_rate, **more).num_prompts

    assert num(0.55) > 3 * num(0.6)
    assert num(0.6) == num(0.4)
    assert num(0.6, likeness=0.9) > num(0.6, likeness=0.0)
    # 194 is the textbook's n for 0.6 against 0.5, two-sided 5 %, power 80 %, no ties.
    assert num(0.6, ties=0, answers_per_prompt=1) == 194
    with pytest.raises(ConfigError, match=r"must differ from 0\.5"):
        num(0.5)
    with pytest.raises(ConfigError, match=r"power: 0\.0 is not a share"):
        num(0.6, power=0.0)


def test_nothing_to_evaluate_is_said():
    abstained = [_given("a", "b", "p", "x", "abstain", False)]
    with pytest.raises(DataError, match="no comparison yet"):
        win_rates.evaluate(abstained, dimensions=DIMENSIONS)
