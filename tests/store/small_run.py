"""A run of one round with one record of each kind, candidates in an instant."""

from pathlib import Path

import numpy as np

from dualipo import config, tracking
from dualipo.events import AlignEvent, PreferEvent, RefreshEvent, ScoresEvent
from dualipo.records import Candidate, Pair, Point, Prompt, Vote
from dualipo.store import tables
from dualipo.store.clips import ClipStore
from dualipo.store.ledger import Unit, Version
from dualipo.store.rundir import RunDir

SETTINGS = config.resolve({"seed": 7, "align": {"loss_type": "kto"}}, subject="test")
FPS = 8
ROUND = Unit(0, 0, "prefer")
VOTE = Vote("candidates-0-0-p-0:candidates-0-0-p-1", "motion", "ba", 0, "a", -2.5, "A moves.")


def make(path: Path) -> RunDir:
    """Make the run and return it open."""
    run = RunDir.open(path, SETTINGS)
    _sample(run)
    _judge(run)
    last = {"loss": float("nan"), "implicit_accuracy": 0.75, "winner_gap": 0.5}
    with tracking.Metrics(run.metrics_path) as metrics:
        metrics.log(0, round=-1, attempt=0, stage="warm_start_sft", loss=2.5)
        metrics.log(0, round=0, attempt=0, stage="align", **last)
    return run


def _sample(run: RunDir) -> None:
    clips, candidates = ClipStore(run.clips_path), []
    for n, name in enumerate(("candidates", "candidates", "test")):
        clip_hash = clips.put(np.full((3, 16, 16, 3), 60 * n, np.uint8), FPS)
        candidates.append(
            Candidate(f"{name}-0-0-p-{n}", "p", "a ball", n, 0, n, clip_hash, "base", 0)
        )
    prompts = run.round_path(0) / "prompts.parquet"
    sha256 = tables.write_records(prompts, [Prompt("p", "a ball", 2)], record_type=Prompt)
    files = {run.relative(clips.path(c.clip)): c.clip for c in candidates}
    run.ledger.commit_unit(
        Unit(0, 0, "sample.candidates"),
        candidates=candidates,
        files=files | {run.relative(prompts): sha256},
    )


def _judge(run: RunDir) -> None:
    folder = run.attempt_path(0, 0)
    shard, points = folder / "confirm" / "votes-0000.parquet", folder / "preferences.parquet"
    pairs = run.round_path(-1) / "seed-pairs.parquet"
    files = {
        shard: tables.write_records(shard, [VOTE], record_type=Vote),
        points: tables.write_records(points, [_point()], record_type=Point),
    }
    run.ledger.commit_unit(
        Unit(0, 0, "confirm"),
        files={run.relative(path): sha256 for path, sha256 in files.items()},
        votes=[("pair", "warm", VOTE)],
    )
    sha256 = tables.write_records(pairs, [_pair()], record_type=Pair)
    run.ledger.commit_unit(Unit(-1, 0, "label"), files={run.relative(pairs): sha256})
    run.ledger.commit_unit(
        ROUND,
        versions=[Version("generator", "g000.0", "base", 0, 0, "rounds/x", "ab" * 32)],
        heads={"generator": "g000.0"},
        events=[
            PreferEvent(num_prompts=4, kept=3, dropped={}, certainty=[], mean_vote_share=None),
            AlignEvent(num_steps=1, generator_version="g000.0", critic_version="warm"),
            RefreshEvent(outcome="not needed", why=[], critic_version="warm"),
            ScoresEvent(
                prompt_ids=["p"],
                captions=["a ball"],
                parts={"consistency": [0.5], "faithfulness": [0.25], "motion": [0.75]},
                total=[0.5],
            ),
        ],
    )


def _pair() -> Pair:
    return Pair("s", "q", "a cube", "aa", "bb", "motion", "b", "human", "ada")


def _point() -> Point:
    return Point("p-0", "p", "a ball", "cc", "overall", "good", "critic", "warm", round=0)
