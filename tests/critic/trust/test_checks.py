"""Self-checks: every way of being wrong fails its own check, and an honest critic passes."""

import pytest

from dualipo.config import Critic
from dualipo.critic import judge
from dualipo.critic.asks import Item
from dualipo.critic.models.vila import Vila
from dualipo.critic.trust import checks
from tests.critic.conftest import Scripted, brightest, seed_of, shade

SETTINGS = Critic(num_votes=2, max_frames=3)
ITEMS = [
    Item(f"p{n}", f"a lamp, the {n}th", (f"shade{40 + 15 * n}", "shade120"), ("motion",))
    for n in range(12)
]
VERDICTS = {
    (item.item_id, "motion"): "a" if shade(item.clip_hashes[0]).mean() > 120 else "b"
    for item in ITEMS
}


def honest(query, seed):
    """Prefer the brighter clip, and grade a clip by whether the caption is its own."""
    if query.kind == "pair":
        return brightest(query, seed)
    shown = query.caption, query.clip_hashes[0]
    own = any(shown == (item.caption, item.clip_hashes[0]) for item in ITEMS)
    return f"x\n<grade>{'good' if own else 'bad'}</grade>"


def contrary(query, seed):
    answer = honest(query, seed)
    return answer.replace(">A<", ">X<").replace(">B<", ">A<").replace(">X<", ">B<")


def check(answer, *, settings=SETTINGS, fps=8.0, num_frames=4):
    return checks.run(
        Scripted(answer) if callable(answer) else answer,
        ITEMS,
        VERDICTS,
        clips=shade,
        fps={clip_hash: fps for item in ITEMS for clip_hash in item.clip_hashes},
        expected_fps=8.0,
        expected_frames=num_frames,
        settings=settings,
        seed_of=seed_of,
    )


def failed(checked):
    return {check.name for check in checked.checks if not check.passed}


def numbers(checked):
    return {check.name: check.number for check in checked.checks}


def test_an_honest_critic_passes_and_the_table_says_so():
    checked = check(honest)
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
    assert failed(check(contrary)) == {"accuracy"}


def test_fault_38_an_obedient_critic_is_refused():
    def obedient(query, seed):
        if query.caption in (judge.NEUTRAL_CAPTION, *(item.caption for item in ITEMS)):
            return honest(query, seed)
        return contrary(query, seed)

    assert failed(check(obedient)) == {"caption obedience"}


def test_a_critic_that_reads_no_caption_is_refused():
    assert failed(check(brightest)) == {"caption sensitivity"}
    assert numbers(check(brightest))["caption sensitivity"] == 0.5
    assert numbers(check(honest))["caption sensitivity"] == 1.0


def test_a_critic_whose_certainty_says_nothing_is_refused():
    def wavering(query, seed):
        """Answer every second pair wrongly, with the same certainty."""
        odd = any(f"the {n}th" in query.caption for n in range(1, 12, 2))
        return contrary(query, seed) if odd else honest(query, seed)

    assert failed(check(wavering)) >= {"calibration error", "accuracy"}


@pytest.mark.parametrize("fps", [8.0, 16.0])
def test_clips_that_are_short_or_run_at_another_pace_are_named(fps):
    names = failed(check(honest, fps=fps, settings=Critic(num_votes=2), num_frames=9))
    assert names == {"frames"} | ({"frame rate"} if fps != 8.0 else set())
    accepted = Critic(num_votes=2, short_video="repeat")
    assert "frames" not in failed(check(honest, settings=accepted, num_frames=9))


def test_fault_21_a_critic_that_refuses_short_clips_is_told_of_them_and_asked_nothing(
    taught_folder,
):
    strict = Critic(max_frames=5, short_video="error")
    checked = check(Vila.load(taught_folder, settings=strict), settings=strict)
    assert failed(checked) == {"frames"} and len(checked.checks) == 2


def test_nothing_to_check_fails_no_one():
    checked = checks.run(
        Scripted(brightest), [], {}, clips=shade, fps={}, expected_fps=8.0,
        expected_frames=4, settings=SETTINGS, seed_of=seed_of,
    )  # fmt: skip
    assert checked.passed and {check.number for check in checked.checks} == {None}
    assert checks.table(checked).count("not measured") == len(checked.checks)
