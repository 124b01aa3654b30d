"""Self-checks: every way of being wrong fails its own check, and an honest critic passes."""

import numpy as np
import pytest

from dualipo.config import Critic
from dualipo.critic import checks, judge
from dualipo.critic.asks import Item
from tests.critic.conftest import Scripted, brightest, seed_of, shade

SETTINGS = Critic(num_votes=2, max_frames=3)
ITEMS = [
    Item(f"p{n}", f"a lamp, the {n}th", (f"shade{40 + 15 * n}", "shade120"), ("motion",))
    for n in range(12)
]
VERDICTS = {
    (item.item, "motion"): "a" if shade(item.clip_ids[0]).mean() > 120 else "b" for item in ITEMS
}


def check(answer, *, settings=SETTINGS, fps=8.0):
    return checks.run(
        Scripted(answer),
        ITEMS,
        VERDICTS,
        clips=shade,
        fps={clip_id: fps for item in ITEMS for clip_id in item.clip_ids},
        expected_fps=8.0,
        settings=settings,
        seed_of=seed_of,
    )


def failed(checked):
    return {one.name for one in checked.checks if not one.passed}


def numbers(checked):
    return {one.name: one.number for one in checked.checks}


def test_an_honest_critic_passes_and_the_table_says_so():
    checked = check(brightest)
    assert failed(checked) == set() and checked.passed
    said = numbers(checked)
    assert said["accuracy"] == 1.0 and said["parse rate"] == 1.0 and said["position bias"] == 0.0
    assert said["caption obedience"] == 0.0 and said["calibration error"] < 0.01
    assert checks.table(checked).count("ok") == len(checked.checks)


def test_fault_31_a_constant_critic_is_refused():
    constant = check(lambda query, seed: "A: x\nB: x\n<verdict>tie</verdict>")
    assert "entropy" in failed(constant)


def test_a_critic_that_prefers_a_place_is_refused():
    assert "position bias" in failed(check(lambda q, s: "A: x\nB: y\n<verdict>A</verdict>"))


def test_a_critic_that_does_not_speak_the_grammar_is_refused():
    assert "parse rate" in failed(check(lambda query, seed: "the first, I think"))


def test_a_critic_that_is_always_wrong_is_refused():
    def contrary(query, seed):
        honest = brightest(query, seed)
        return honest.replace(">A<", ">X<").replace(">B<", ">A<").replace(">X<", ">B<")

    assert {"accuracy"} == failed(check(contrary))


def test_fault_38_an_obedient_critic_is_refused():
    def obedient(query, seed):
        honest = brightest(query, seed)
        if query.caption in (judge.NEUTRAL_CAPTION, *(item.caption for item in ITEMS)):
            return honest
        return honest.replace(">A<", ">X<").replace(">B<", ">A<").replace(">X<", ">B<")

    assert failed(check(obedient)) == {"caption obedience"}


def test_a_critic_that_reads_captions_is_sensitive_to_them():
    def reader(query, seed):
        if query.kind == "pair":
            return brightest(query, seed)
        own = any(
            item.caption == query.caption and item.clip_ids[0] == query.clip_ids[0]
            for item in ITEMS
        )
        return f"x\n<grade>{'good' if own else 'bad'}</grade>"

    assert numbers(check(brightest))["caption sensitivity"] == 0.5
    assert numbers(check(reader))["caption sensitivity"] == 1.0


@pytest.mark.parametrize("fps", [8.0, 16.0])
def test_the_frame_contract_is_kept_or_named(fps):
    strict = SETTINGS.model_copy(update={"short_video": "error", "max_frames": 4})
    lengths = {len(shade(i)) for item in ITEMS for i in item.clip_ids}
    found = failed(check(brightest, settings=strict, fps=fps))
    assert ("frame rate" in found) == (fps != 8.0)
    assert ("frames" in found) == (min(lengths) < 4)
    assert np.isfinite(numbers(check(brightest))["frames"])


def test_nothing_to_check_fails_no_one():
    checked = checks.run(
        Scripted(brightest), [], {}, clips=shade, fps={}, expected_fps=8.0,
        settings=SETTINGS, seed_of=seed_of,
    )  # fmt: skip
    assert checked.passed and "not measured" in checks.table(checked)
