"""The embedded world's own suite: what it says of clips whose quality is known, and who says it."""

import functools
from typing import Any

import numpy as np
import pytest

from dualipo.evaluation import measured
from dualipo.records import Candidate
from dualipo.rounds import world_suite
from dualipo.world import corpus, oracle

NUM_PROMPTS = 12


@functools.cache
def _real(number: int) -> Any:
    return corpus.real_clip(number, num_frames=9)


def _candidates(version: str) -> list[Candidate]:
    return [
        Candidate(
            candidate_id=f"monitor-{n}-{version}", prompt_id=f"p{n}", caption=_real(n).caption,
            round=0, index=0, draw=0, seed=n, generator_version=version, clip=f"{version}{n}",
        )
        for n in range(NUM_PROMPTS)
    ]  # fmt: skip


def _frames(clip: str) -> Any:
    """Return a clean clip of the caption, or its first frame held still for a frozen version."""
    frames = _real(int(clip[6:])).frames_FHW3
    return np.repeat(frames[:1], len(frames), axis=0) if clip.startswith("frozen") else frames


def test_frozen_clips_lose_points_without_the_oracle_and_the_fall_is_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def asked(*clip: object) -> None:
        raise AssertionError("the oracle was asked")

    monkeypatch.setattr(oracle, "score", asked)
    moving, frozen = (
        world_suite.score(_candidates(name), frames=_frames, fps=lambda clip: 8.0, seed=0)
        for name in ("moving", "frozen")
    )
    assert set(moving["moving clips"]["p0"] + frozen["moving clips"]["p0"]) == {100.0, 0.0}
    base = world_suite.as_event("base", moving)
    event = world_suite.as_event("g000.0", frozen, others=[base])
    change = measured.named(event.measurements, measured.TOTAL, against="base")
    assert change and change.high is not None and change.high < 0
    (alarm,) = event.alarms
    assert alarm.startswith("the world's suite fell: total ") and "against base" in alarm
    assert measured.evaluation_total([base, event], "g000.0") == event.measurements[0].value
