"""The instrument's readings of a critic whose answers are known."""

from dataclasses import replace

import pytest

from dualipo.rounds import headroom
from tests.critic.conftest import SETTINGS, Scripted, brightest, pair, seed_of, shade


def read(critic, *pairs):
    settings = SETTINGS.model_copy(update={"num_votes": 8})
    return headroom.read(critic, pairs, clips=shade, settings=settings, seed_of=seed_of)


def graded(query, seed: int) -> str:
    """Prefer the brighter clip, and grade both as if the darker were good."""
    label = "A" if query.clips[0].mean() > query.clips[1].mean() else "B"
    return f"A: x Grade: bad\nB: y Grade: bad\n<verdict>{label}</verdict>"


def test_an_honest_critic_is_right_in_every_reading_whatever_the_labels_side() -> None:
    labels = [pair(0), pair(1, "b"), pair(2, "tie"), pair(3, "a", "overall")]
    judged = read(Scripted(brightest), *labels)
    assert len(judged) == 2  # neither a tie nor "overall" is read
    for each in judged:
        assert each.rights["hard votes"] == 1 and each.rights["soft votes"] > 0.99
        assert each.rights["forced choice"] > 0.99 and set(each.paths) == {1.0}


def test_a_wrong_label_makes_every_reading_wrong() -> None:
    [each] = read(Scripted(brightest), replace(pair(0), verdict="b"))
    assert each.rights["hard votes"] == 0 and each.rights["soft votes"] < 0.01
    assert each.rights["forced choice"] < 0.01 and set(each.paths) == {0.0}


def test_right_verdicts_with_the_labels_grades_exchanged_are_counted() -> None:
    opposite = replace(pair(0), grade_a="normal", grade_b="good")
    alike = replace(pair(1), grade_a="good", grade_b="bad")
    exchanged, shared = read(Scripted(graded), opposite, alike)
    assert exchanged.contradicted == 1.0  # both grades are others than the label's
    assert shared.contradicted == 0.0
    [silent] = read(Scripted(brightest), pair(0))
    assert silent.contradicted is None  # its answers hold no grades


def test_a_critic_that_cannot_be_read_is_left_out() -> None:
    assert read(Scripted(lambda query, seed: "I like both."), pair(0)) == []
    assert pytest.approx(0.5) == headroom._share({}, "a", "b")
