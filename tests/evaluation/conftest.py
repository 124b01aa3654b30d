"""A run as `rounds/` leaves it: events, metrics and clips, with numbers that a test can find again.

Round 0 is calm; round 1 refreshed its critic, so its second attempt counts.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dualipo import config, tracking
from dualipo.records import DIMENSIONS
from dualipo.store.clips import ClipStore, Frames
from dualipo.store.ledger import Unit, Version
from dualipo.store.rundir import RunDir

NUM_TEST_PROMPTS = 24
RunMaker = Callable[..., Path]


@pytest.fixture
def make_run(tmp_path: Path) -> RunMaker:
    """`make_run(num_rounds=2, text="...")`: a run of three rounds, of which the first are done.

    `text` goes wherever a stranger's words can: captions, reasonings, annotators, reasons.
    """

    def make(*, num_rounds: int = 3, text: str = "a red disc moves right", **tree: Any) -> Path:
        path = tmp_path / "runs" / "demo"
        settings = {"align": {"max_train_steps": 40}, "seed": 7} | tree
        run = RunDir.open(path, config.resolve(settings, subject="test"))
        clips = ClipStore(run.clips_path)
        commit(run, Unit(-1, 0, "warm_start"), _warm_start(text) | _shown(clips, text, -1))
        for round in range(num_rounds):
            if round == 1:
                commit(run, Unit(1, 0, "monitor"), _attempt(clips, text, 1, gain=-0.4))
                commit(run, Unit(1, 0, "refresh"), {"refresh": _refresh("refreshed", text)})
            else:
                commit(run, Unit(round, 0, "refresh"), {"refresh": _refresh("not needed", text)})
            attempt = 1 if round == 1 else 0
            events = _attempt(clips, text, round, gain=0.05 * (round + 1))
            commit(run, Unit(round, attempt, "final"), events, generator=f"g{round}")
            write_curves(run, round, attempt)
        run.close()
        return path

    return make


def commit(run: RunDir, unit: Unit, events: dict[str, Any], *, generator: str = "") -> None:
    versions = [
        Version("generator", generator, "base", unit.round, unit.attempt, "rounds/x", "ab" * 32)
    ]
    run.ledger.commit_unit(unit, events=events, versions=versions if generator else [])


def write_curves(run: RunDir, round: int, attempt: int) -> None:
    rng = np.random.default_rng(round)
    with tracking.Metrics(run.metrics_path) as metrics:
        for step in range(40):
            values = {
                "loss": 0.6931 - 0.002 * step + 0.01 * rng.normal(),
                "implicit_accuracy": 0.5 + 0.005 * step,
                "winner_gap": -0.0001 * step,
                "loser_gap": 0.0001 * step,
            }
            key = {"round": round, "attempt": attempt, "stage": "align"}
            metrics.log(step, **key, **values)


def scores(round: int, *, gain: float) -> dict[str, Any]:
    prompts, own = np.random.default_rng(5), np.random.default_rng(round + 50)
    parts = {}
    for name in DIMENSIONS:
        hardness, luck = (rng.normal(size=NUM_TEST_PROMPTS) for rng in (prompts, own))
        parts[name] = np.clip(0.5 + gain + 0.1 * hardness + 0.04 * luck, 0, 1).tolist()
    return {
        "prompt_ids": [f"p{index:02d}" for index in range(NUM_TEST_PROMPTS)],
        "captions": ["a caption"] * NUM_TEST_PROMPTS,
        "parts": parts,
        "total": np.mean(list(parts.values()), axis=0).tolist(),
    }


def accuracy(num_correct: int) -> dict[str, Any]:
    return {
        "forced_choice": num_correct / 48,
        "free_form": (num_correct - 3) / 48,
        "num": 48,
        "num_correct_forced": num_correct,
        "abstain_rate": 0.0417,
        "by_dimension": {name: num_correct / 48 for name in DIMENSIONS},
    }


def _warm_start(text: str) -> dict[str, Any]:
    return {
        "warm_start": {
            "num_traces": 400,
            "num_pairs": 90,
            "shipped": accuracy(27),
            "sft": accuracy(35),
            "warm": accuracy(38),
            "annotators": {f"careful {text}": 0.91, "hasty": 0.77},
        },
        "holdout": {"critic_version": "warm", "accuracy": 0.7291},
        "scores": scores(-1, gain=0.0),
        "clock.warm_start": {"seconds": 31.5, "peak_mb": 812.0},
    }


def _refresh(outcome: str, text: str) -> dict[str, Any]:
    if outcome == "not needed":
        return {"outcome": outcome, "why": [], "critic_version": "critic-1"}
    return {
        "outcome": outcome,
        "why": [f"audit accuracy fell {text}"],
        "num_judged": 480,
        "num_kept": 231,
        "mean_pce": 0.71,
        "holdout_before": 0.7917,
        "holdout_after": 0.8333,
        "critic_version": "critic-1",
    }


def _attempt(clips: ClipStore, text: str, round: int, *, gain: float) -> dict[str, Any]:
    rng = np.random.default_rng(round)
    votes = {"num_votes": 900, "abstain_rate": 0.031, "reasons_of_abstention": {text: 28}}
    aligned = {"implicit_accuracy": 0.671, "winner_gap": -0.0031, "z_std": 0.412}
    return {
        "prompts": {"num": 48, "num_folded": 2, "screened": {f"too long {text}": 1}},
        "sample": {
            "num_clips": 384, "num_rejected": 5, "num_resampled": 5, "num_prompts_dropped": 0
        },
        "score": votes,
        "confirm": votes | {"mean_vote_share": 0.871, "position_bias": 0.04},
        "prefer": {
            "num_prompts": 48,
            "kept": 27 + round,
            "dropped": {"small margin": 9, "disagreement": 8 - round, f"conflict {text}": 4},
            "certainty": np.clip(rng.normal(0.85, 0.08, 27 + round), 0.5, 1).tolist(),
            "mean_vote_share": 0.8713,
        },
        "align": aligned | {
            "num_steps": 40,
            "generator_version": f"g{round}",
            "critic_version": "critic-1" if round else "critic-0",
            "loser_gap": 0.0042,
        },
        "monitor": aligned | {
            "holdout_accuracy": 0.75 + 0.0101 * round,
            "audit_accuracy": 0.8125,
            "win_rate": 0.6458,
            "mean_vote_share": 0.8713,
            "triggers": [],
            "stop": [],
        },
        "critic_accuracy": accuracy(38 + round),
        "scores": scores(round, gain=gain),
        "clock.sample": {"seconds": 12.25, "peak_mb": 640.0},
        "clock.align": {"seconds": 40.0 + round, "peak_mb": 1033.0},
    } | _shown(clips, text, round) | _checked(text, round)  # fmt: skip


def _checked(text: str, round: int) -> dict[str, Any]:
    if round:
        return {}
    base = {"threshold": 0.7, "at_least": True, "what": f"answers {text}"}
    checks = [
        base | {"name": "parse rate", "number": 0.9125, "passed": True},
        base | {"name": "entropy", "number": None, "passed": True},
        base | {"name": "accuracy", "number": 0.4375, "passed": False},
    ]
    bar = {"low": 0.6, "high": 0.7, "num": 16, "mean_probability": 0.6511, "accuracy": 0.5625}
    event = {"critic_version": "warm", "passed": False, "checks": checks, "reliability": [bar]}
    return {"critic_check": event}


def _shown(clips: ClipStore, text: str, round: int) -> dict[str, Any]:
    shas = [clips.put(moving_square(round + 2, row), 8) for row in range(2)]
    words = {
        "caption": text,
        "clip_a": shas[0],
        "clip_b": shas[1],
        "dimension": "motion",
        "verdict": "a",
        "certainty": 0.875,
        "reasonings": [f"Video A moves.\n{text}", "Video B stands still."],
    }
    gallery = {"captions": [text, f"{text} again"], "clips": shas}
    return {"gallery": gallery} | ({"words": [words]} if round >= 0 else {})


def moving_square(speed: int, row: int) -> Frames:
    """9 frames of 32x32 with one square."""
    frames_FHWC = np.full((9, 32, 32, 3), 235, np.uint8)
    for frame in range(9):
        left = min(speed * frame // 2, 22)
        frames_FHWC[frame, 8 + 8 * row : 16 + 8 * row, left : left + 8] = (200, 40 * row, 40)
    return frames_FHWC
