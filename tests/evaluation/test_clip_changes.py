"""Changes of clip metrics: paired over prompts, alarming only where an interval shows them."""

import numpy as np
import pytest

from dualipo.evaluation import clip_changes, measured
from dualipo.evaluation.pixels import DIVERSITY, DYNAMICS, UNSMOOTHNESS
from dualipo.events import MeasuredEvent


def _values(name: str, level: float, *, num: int = 16, noise: float = 0.0) -> clip_changes.Values:
    """Return a metric of prompts that differ far more among themselves than versions do."""
    rng = np.random.default_rng(int(1000 * level))
    return {name: {f"p{n}": [level + n + noise * rng.normal()] for n in range(num)}}


def _event(name: str, level: float, others: list[MeasuredEvent], **how: float) -> MeasuredEvent:
    version = "base" if not others else f"g00{len(others) - 1}.0"
    return clip_changes.of_version(version, _values(name, level, **how), others=others)  # type: ignore[arg-type]


def test_a_fall_that_every_prompt_shows_is_told_although_prompts_differ_more() -> None:
    base = _event(DYNAMICS, 1.0, [])
    assert base.alarms == [] and len(base.measurements) == 1
    less = _event(DYNAMICS, 0.8, [base], noise=0.02)
    change = measured.named(less.measurements, DYNAMICS, against="base")
    assert change and change.value == pytest.approx(-0.2, abs=0.02) and change.high < 0  # type: ignore[operator]
    (alarm,) = less.alarms
    assert alarm.startswith("motion fell: dynamic degree 8.500 -> 8.") and "against base" in alarm
    assert clip_changes.dynamics_drop(less, "base") == pytest.approx(0.2 / 8.5, abs=0.003)


def test_more_motion_noise_and_few_prompts_raise_no_alarm() -> None:
    base = _event(DYNAMICS, 1.0, [])
    assert _event(DYNAMICS, 1.2, [base]).alarms == []
    noisy = _event(DYNAMICS, 0.99, [base], noise=0.5)
    assert noisy.alarms == [] and clip_changes.dynamics_drop(noisy, "base") == 0.0
    few = _event(DYNAMICS, 1.0, [], num=4)
    assert _event(DYNAMICS, 0.5, [few], num=4).alarms == []


def test_what_is_frozen_flickers_or_became_alike_is_told() -> None:
    still = clip_changes.of_version("base", {DYNAMICS: {f"p{n}": [0.001] for n in range(3)}})
    assert still.alarms[0].startswith("frozen: the clips hardly move")
    for name, level, words in (
        (UNSMOOTHNESS, 2.5, "flicker more than their motion explains"),
        (DIVERSITY, 0.1, "became alike"),
    ):
        base = _event(name, 1.0, [])
        (alarm,) = _event(name, level, [base]).alarms
        assert words in alarm
        assert _event(name, 1 + (level - 1) / 10, [base]).alarms == [], "sure, and too small"


def test_only_prompts_that_both_versions_have_are_compared() -> None:
    base = clip_changes.of_version("base", _values(DYNAMICS, 1.0, num=16))
    after = clip_changes.of_version("g000.0", _values(DYNAMICS, 1.0, num=12), others=[base])
    change = measured.named(after.measurements, DYNAMICS, against="base")
    assert change and change.value == 0.0 and change.num_prompts == 12
    assert clip_changes.dynamics_drop(base, "base") is None
