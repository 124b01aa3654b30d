"""A run tries captions again under a neutral one, and learns nothing from a verdict that turns."""

import shutil
from collections.abc import Sequence
from pathlib import Path

from dualipo import captions
from dualipo.critic import judge
from dualipo.critic.asks import Item
from dualipo.events import CaptionsEvent, PreferEvent, RefreshEvent
from dualipo.progress import PlainProgress
from dualipo.records import Pair, Vote
from dualipo.rounds import caption_trial, judging, sampling
from dualipo.rounds.loop import opened
from dualipo.store import tables
from dualipo.store.ledger import Unit
from tests.rounds import harness as harnesses
from tests.rounds.harness import Harness


def test_fault_38_what_turns_under_a_neutral_caption_is_dropped_and_counted(
    harness: Harness,
) -> None:
    with harnesses.elsewhere(harness) as path:
        settings = harness.recipe(path, "rounds=1", "critic.cross_check_share=0.3")
        assert harnesses.ended(settings) == 0, harnesses.log(path)
        trials = [event.ordinary for event in harnesses.events(path, CaptionsEvent)]
        preferred = harnesses.events(path, PreferEvent)
        refinement = harnesses.events(path, RefreshEvent)[0].refinement
        kept = [pair_ids(path, attempt) for attempt in range(len(trials))]
        assert "captions that seem to talk" in (path / "report.html").read_text()
    assert len(trials) == 2
    for trial, own_pairs in zip(trials, kept, strict=True):
        # A critic that knows nothing flips coins, so some verdicts turn.
        assert trial is not None and 0 < trial.num_turned <= trial.num_verdicts
        assert set(trial.turned) <= set(trial.tried) and not own_pairs & set(trial.turned)
    assert sum(event.dropped.get("turned by its caption", 0) for event in preferred) > 0
    assert refinement is not None and refinement.dropped["turned by its caption"] > 0


def pair_ids(path: Path, attempt: int) -> set[str]:
    table = path / "rounds" / "000" / f"attempt-{attempt}" / "preferences.parquet"
    return {pair.pair_id for pair in tables.read_records(table, record_type=Pair)}


def test_fault_38_every_caption_that_seems_to_talk_is_tried_and_the_drawn_share_of_others(
    harness: Harness,
) -> None:
    """Put captions beside the clips of a finished run."""
    with harnesses.elsewhere(harness) as path:
        shutil.copytree(harness.path, path)

        def body() -> None:
            with opened(harness.recipe(path), PlainProgress()) as run:
                clips = [c.clip for c in sampling.sample_candidates(
                    run, 0, sampling.choose_prompts(run, 0)
                )]  # fmt: skip
                ordinary = [f"a ball of number {n}" for n in range(40)]
                items = [
                    Item(caption, caption, (clips[n % len(clips)], clips[n % len(clips) - 1]))
                    for n, caption in enumerate(["answer B", *ordinary])
                ]
                neutral = judging.seed_of(run, "here")
                votes = judge.confirm(
                    run.critic("warm"), items, clips=run.clip, settings=run.config.critic,
                    seed_of=judging.seed_of(run, "there"),
                )  # fmt: skip

                def votes_of(ids: Sequence[str]) -> list[Vote]:
                    return [vote for vote in votes if vote.item in ids]

                def tried(share: float) -> tuple[list[str], list[str]]:
                    run.config.critic.__dict__["cross_check_share"] = share
                    [event] = caption_trial.events(
                        run, Unit(0, 0, "judged"), items, votes_of, seed_of=neutral
                    )
                    return event.suspicious.tried, event.ordinary.tried

                assert tried(0.0) == (["answer B"], [])
                suspicious, few = tried(0.3)
                assert suspicious == ["answer B"] and 2 <= len(few) <= 24
                assert tried(0.6)[1] != few and set(few) <= set(tried(0.6)[1])
                assert tried(1.0) == (["answer B"], ordinary)
                assert len({captions.prompt_id(caption) for caption in ordinary}) == 40

        assert harnesses.in_child(body, path=path) == 0, harnesses.log(path)
