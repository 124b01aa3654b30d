import numpy as np
import pytest

from dualipo.critic.models import frame_choice
from dualipo.errors import MediaError
from tests.critic.conftest import make_clip


def pick(num_frames, short_video):
    numbered = np.arange(num_frames, dtype=np.uint8).reshape(-1, 1, 1, 1)
    chosen = frame_choice.choose(
        numbered, max_frames=16, short_video=short_video, clip_hash="clip.mp4"
    )
    return chosen.flatten().tolist()


@pytest.mark.parametrize("num_frames", range(1, 60))
def test_frames_are_spread_and_never_twice(num_frames):
    picked = pick(num_frames, "use_all")
    assert picked == sorted(set(picked))
    assert (picked[0], len(picked)) == (0, min(16, num_frames))
    assert picked[-1] == num_frames - 1 or num_frames == 1


@pytest.mark.parametrize("num_frames", [1, 2, 15])
def test_fault_21_a_short_clip_follows_the_policy(num_frames):
    assert pick(num_frames, "use_all") == list(range(num_frames))
    repeated = pick(num_frames, "repeat")
    assert len(repeated) == 16 and set(repeated) == set(range(num_frames))
    with pytest.raises(MediaError, match=f"clip.mp4: {num_frames} frames, the critic needs 16"):
        pick(num_frames, "error")


def test_fault_21_no_frames_is_an_error_that_names_the_clip():
    with pytest.raises(MediaError, match="x: no frames"):
        frame_choice.choose(make_clip(0)[:0], max_frames=4, short_video="use_all", clip_hash="x")
