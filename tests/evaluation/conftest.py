"""A run as `rounds/` leaves it: events, metrics and clips, with numbers that a test can find again.

Round 0 is calm; round 1 refreshed its critic, so its second attempt counts.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dualipo import config, tracking
from dualipo.event_parts import Accuracy, CheckRow, Gate, Refinement, ReliabilityBin, Signals, Words
from dualipo.events import (
    AlignEvent,
    ClockEvent,
    ConfirmEvent,
    CriticAccuracyEvent,
    CriticCheckEvent,
    Event,
    GalleryEvent,
    HoldoutEvent,
    MonitorEvent,
    Outcome,
    PreferEvent,
    PromptsEvent,
    RefreshEvent,
    SampleEvent,
    ScoreEvent,
    ScoresEvent,
    WarmStartEvent,
    WordsEvent,
)
from dualipo.records import DIMENSIONS, Dimension
from dualipo.store.clips import ClipStore, Frames
from dualipo.store.ledger import Unit, Version
from dualipo.store.rundir import RunDir

NUM_TEST_PROMPTS = 24
RunMaker = Callable[..., Path]

GATE = Gate(
    verdict="worse",
    labels="audit",
    num_labels=240,
    num_prompts=80,
    accuracy_before=0.7,
    accuracy_after=0.65,
    accuracy_low=-0.08,
    accuracy_high=-0.02,
    loss=0.03,
    loss_low=0.01,
    loss_high=0.05,
    detectable=0.05,
    margin=0.04,
)


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
        commit(run, Unit(-1, 0, "warm_start"), [*_warm_start(text), *_shown(clips, text, -1)])
        for round in range(num_rounds):
            if round == 1:
                commit(run, Unit(1, 0, "monitor"), _attempt(clips, text, 1, gain=-0.4))
                commit(run, Unit(1, 0, "refresh"), [_refresh("refreshed", text)])
            else:
                commit(run, Unit(round, 0, "refresh"), [_refresh("not needed", text)])
            attempt = 1 if round == 1 else 0
            events = _attempt(clips, text, round, gain=0.05 * (round + 1))
            commit(run, Unit(round, attempt, "final"), events, generator=f"g{round}")
            write_curves(run, round, attempt)
        run.close()
        return path

    return make


def commit(run: RunDir, unit: Unit, events: Sequence[Event], *, generator: str = "") -> None:
    versions = [
        Version("generator", generator, "base", unit.round, unit.attempt, "rounds/x", "ab" * 32)
    ]
    run.ledger.commit_unit(unit, events=events, versions=versions if generator else [])


def write_curves(run: RunDir, round: int, attempt: int) -> None:
    rng = np.random.default_rng(round)
    with tracking.Metrics(run.metrics_path) as metrics:
        for step in range(40):
            values = {
                "loss": 0.9 - 0.002 * step,
                "dpo": 0.6931 - 0.002 * step + 0.01 * rng.normal(),
                "implicit_accuracy": 0.5 + 0.005 * step,
                "winner_gap": -0.0001 * step,
                "loser_gap": 0.0001 * step,
            }
            key = {"round": round, "attempt": attempt, "stage": "align"}
            metrics.log(step, **key, **values)


def scores(round: int, *, gain: float) -> ScoresEvent:
    prompts, own = np.random.default_rng(5), np.random.default_rng(round + 50)
    parts: dict[Dimension, list[float]] = {}
    for name in DIMENSIONS:
        hardness, luck = (rng.normal(size=NUM_TEST_PROMPTS) for rng in (prompts, own))
        parts[name] = np.clip(0.5 + gain + 0.1 * hardness + 0.04 * luck, 0, 1).tolist()
    return ScoresEvent(
        prompt_ids=[f"p{index:02d}" for index in range(NUM_TEST_PROMPTS)],
        captions=["a caption"] * NUM_TEST_PROMPTS,
        parts=parts,
        total=np.mean(list(parts.values()), axis=0).tolist(),
    )


def accuracy(num_correct: int) -> Accuracy:
    return Accuracy(
        forced_choice=num_correct / 48,
        free_form=(num_correct - 3) / 48,
        num=48,
        num_correct_forced=num_correct,
        abstain_rate=0.0417,
        by_dimension={name: num_correct / 48 for name in DIMENSIONS},
    )


def _warm_start(text: str) -> list[Event]:
    return [
        WarmStartEvent(
            num_traces=400,
            num_pairs=90,
            shipped=accuracy(27),
            sft=accuracy(35),
            warm=accuracy(38),
            annotators={f"careful {text}": 0.91, "hasty": 0.77},
        ),
        HoldoutEvent(critic_version="warm", accuracy=0.7291),
        scores(-1, gain=0.0),
        ClockEvent(stage="warm_start", seconds=31.5, peak_mb=812.0),
    ]


def _refresh(outcome: Outcome, text: str) -> RefreshEvent:
    if outcome == "not needed":
        return RefreshEvent(outcome=outcome, why=[], critic_version="critic-1")
    refinement = Refinement(
        num_judged=480,
        num_kept=231,
        dropped={},
        mean_pce=0.71,
        holdout_before=0.7917,
        holdout_after=0.8333,
    )
    why = [f"audit accuracy fell {text}"]
    return RefreshEvent(outcome=outcome, why=why, critic_version="critic-1", refinement=refinement)


def _attempt(clips: ClipStore, text: str, round: int, *, gain: float) -> list[Event]:
    rng = np.random.default_rng(round)
    signals = Signals(
        holdout_accuracy=0.75 + 0.0101 * round,
        audit_accuracy=0.8125,
        win_rate=0.6458,
        num_win_rate_prompts=48,
        mean_vote_share=0.8713,
        implicit_accuracy=0.671,
    )
    return [
        PromptsEvent(num=48, num_folded=2, screened={f"too long {text}": 1}),
        SampleEvent(num_clips=384, num_rejected=5, num_resampled=5, num_prompts_dropped=0),
        ScoreEvent(num_votes=900, abstain_rate=0.031, position_bias=None),
        ConfirmEvent(num_votes=900, abstain_rate=0.031, position_bias=0.04, mean_vote_share=0.871),
        PreferEvent(
            num_prompts=48,
            kept=27 + round,
            dropped={"small margin": 9, "disagreement": 8 - round, f"conflict {text}": 4},
            certainty=np.clip(rng.normal(0.85, 0.08, 27 + round), 0.5, 1).tolist(),
            mean_vote_share=0.8713,
        ),
        AlignEvent(
            num_steps=40,
            generator_version=f"g{round}",
            critic_version="critic-1" if round else "critic-0",
            implicit_accuracy=0.671,
            winner_gap=-0.0031,
            loser_gap=0.0042,
            z_std=0.412,
        ),
        MonitorEvent(signals=signals, triggers=[], stop=[], winner_gap=-0.0031),
        CriticAccuracyEvent(critic_version="critic-0", accuracy=accuracy(38 + round)),
        scores(round, gain=gain),
        ClockEvent(stage="sample", seconds=12.25, peak_mb=640.0),
        ClockEvent(stage="align", seconds=40.0 + round, peak_mb=1033.0),
        *_shown(clips, text, round),
        *([] if round else [_checked(text)]),
    ]


def _checked(text: str) -> CriticCheckEvent:
    numbers = {"parse rate": 0.9125, "entropy": None, "accuracy": 0.4375}
    checks = [
        CheckRow(
            name=name,
            number=number,
            threshold=0.7,
            at_least=True,
            what=f"answers {text}",
            passed=name != "accuracy",
        )
        for name, number in numbers.items()
    ]
    column = ReliabilityBin(low=0.6, high=0.7, num=16, mean_probability=0.6511, accuracy=0.5625)
    return CriticCheckEvent(
        critic_version="warm", passed=False, checks=checks, reliability=[column]
    )


def _shown(clips: ClipStore, text: str, round: int) -> list[Event]:
    shas = [clips.put(moving_square(round + 2, row), 8) for row in range(2)]
    words = Words(
        caption=text,
        clip_a=shas[0],
        clip_b=shas[1],
        dimension="motion",
        question="Which moves better?",
        verdict="a",
        certainty=0.875,
        reasonings=[f"Video A moves.\n{text}", "Video B stands still."],
        votes={"a": 3, "tie": 1},
        orders=["ab", "ba"],
    )
    gallery = GalleryEvent(captions=[text, f"{text} again"], clips=shas)
    return [gallery, WordsEvent(pairs=[words])] if round >= 0 else [gallery]


def moving_square(speed: int, row: int) -> Frames:
    """9 frames of 32x32 with one square."""
    frames_FHWC = np.full((9, 32, 32, 3), 235, np.uint8)
    for frame in range(9):
        left = min(speed * frame // 2, 22)
        frames_FHWC[frame, 8 + 8 * row : 16 + 8 * row, left : left + 8] = (200, 40 * row, 40)
    return frames_FHWC
