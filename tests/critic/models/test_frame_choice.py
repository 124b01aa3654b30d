import numpy as np
import pytest

from dualipo.config import Critic
from dualipo.critic.models import frame_choice
from dualipo.errors import MediaError
from tests.critic.conftest import make_clip, make_query


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


def test_a_heading_tells_the_frames_that_are_shown_and_when_they_are_seen():
    query = make_query(clips=(make_clip(0, num_frames=9), make_clip(1, num_frames=3)))
    video = Critic.model_validate({"max_frames": 5, "questions": "video"})
    told = [
        frame_choice.heading(query, n, settings=video, fps_of={"clip0": 8.0, "clip1": 16.0}.get)
        for n in range(2)
    ]
    assert told == [
        "Video A (5 frames of 9, 8 frames a second, at 0.00, 0.25, 0.50, 0.75, 1.00 s):",
        "Video B (3 frames of 3, 16 frames a second, at 0.00, 0.06, 0.12 s):",
    ]
    assert frame_choice.heading(query, 0, settings=video) == "Video A (5 frames of 9):"
    assert frame_choice.heading(query, 0, settings=Critic()) == "Video A:"
