"""Every damage is visible, keeps the form of the clip, and is stronger where it is more severe."""

import numpy as np
import pytest

from dualipo.critic.learning import constructed, damages
from dualipo.critic.learning.constructed import CaptionedClip
from dualipo.critic.learning.damages import DAMAGES, Damaged
from dualipo.records import DIMENSIONS


def moving_square(name: str, *, num_frames: int = 16, height: int = 40, width: int = 56):
    """Draw a square that moves evenly over a shaded ground."""
    shade = int(name.rpartition("-")[2] or 0)
    ground = np.linspace(20, 90, width)[None, :, None] + shade
    frames = np.broadcast_to(ground, (num_frames, height, width, 3)).astype(np.uint8).copy()
    for n in range(num_frames):
        frames[n, 12:24, 2 * n + 4 : 2 * n + 18] = (220, 60 + shade, 30)
    return frames


def still(name: str):
    return np.repeat(moving_square(name)[:1], 16, axis=0)


def change(kind: str, severity: float, clips=moving_square) -> float:
    """Return the mean change in levels over several draws."""
    before = clips("clip-0").astype(int)
    copies = [Damaged("clip-0", kind, severity, seed).frames(clips) for seed in range(12)]
    return float(np.mean([np.abs(copy.astype(int) - before).mean() for copy in copies]))


@pytest.mark.parametrize("kind", DAMAGES)
def test_a_damage_keeps_the_form_and_grows_with_its_severity(kind: str) -> None:
    before = moving_square("clip-0")
    copy = Damaged("clip-0", kind, 0.7, 3).frames(moving_square)
    assert copy.shape == before.shape and copy.dtype == np.uint8
    assert damages.is_visible(before, copy)
    assert (copy == Damaged("clip-0", kind, 0.7, 3).frames(moving_square)).all()
    assert change(kind, 1.0) > change(kind, 0.45) > 0
    assert (before == moving_square("clip-0")).all()  # the clip itself stays


@pytest.mark.parametrize("kind", [k for k, d in DAMAGES.items() if d.dimension == "motion"])
def test_motion_is_damaged_in_time_alone(kind: str) -> None:
    if kind != "shaken":  # which moves the picture
        copy = Damaged("clip-0", kind, 1.0, 5).frames(moving_square)
        frames = {frame.tobytes() for frame in moving_square("clip-0")}
        assert {frame.tobytes() for frame in copy} <= frames
        assert change(kind, 1.0, still) == 0  # what stands still cannot stop


@pytest.mark.parametrize("shape", [(1, 16, 16), (2, 9, 31), (49, 24, 24)])
def test_clips_of_any_length_and_form_can_be_damaged(shape: tuple[int, int, int]) -> None:
    frames = np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)
    for kind in DAMAGES:
        for severity in (0.01, 1.0):
            copy = Damaged("x", kind, severity, 1).frames(lambda name: frames)
            assert copy.shape == frames.shape


def shown(num: int) -> list[CaptionedClip]:
    colours = ("red", "blue", "green", "grey")
    return [
        CaptionedClip(f"p{n}", f"a {colours[n % 4]} square moves {n // 4}", f"clip-{n}")
        for n in range(num)
    ]


def test_pairs_are_constructed_in_all_dimensions_from_strong_to_slight() -> None:
    built = constructed.build(shown(12), num=60, clips=moving_square, seed=1)
    assert len(built.pairs) == 60 and built.num_invisible == 0
    by_dimension = [sum(p.dimension == d for p in built.pairs) for d in DIMENSIONS]
    assert by_dimension == [20, 20, 20]
    assert 20 <= sum(pair.verdict == "a" for pair in built.pairs) <= 40
    severities = [built.damaged[name].severity for name in sorted(built.damaged, key=_number)]
    assert severities == sorted(severities, reverse=True) and len(set(severities)) == 4
    for pair in built.pairs:
        own, other = pair.video_a, pair.video_b
        if pair.verdict == "b":
            own, other = other, own
        assert own in {s.clip for s in shown(12) if s.prompt_id == pair.prompt_id}
        if pair.dimension == "consistency":
            assert other not in built.damaged and other != own
        else:
            damage = built.damaged[other]
            assert damage.clip == own and DAMAGES[damage.kind].dimension == pair.dimension
    assert built == constructed.build(shown(12), num=60, clips=moving_square, seed=1)


def test_the_slighter_the_fault_the_more_alike_the_exchanged_captions() -> None:
    others = shown(16)
    strong = constructed._of_another_caption(others[0], others, 1.0)
    slight = constructed._of_another_caption(others[0], others, 0.0)
    captions = {each.clip: each.caption for each in others}
    likeness = [constructed._likeness(captions[c], others[0].caption) for c in (strong, slight)]
    assert likeness[0] < likeness[1] < 1
    assert constructed._of_another_caption(others[0], others[:1], 1.0) is None


def test_a_damage_that_cannot_be_seen_makes_no_pair() -> None:
    built = constructed.build(shown(3), num=30, clips=still, seed=0)
    assert built.num_invisible > 0 and len(built.pairs) == 30 - built.num_invisible
    motion = {built.damaged[n].kind for n in built.damaged} & {"held", "shuffled", "reversed"}
    assert not motion


def _number(name: str) -> int:
    return int(name.rpartition("-")[2])
