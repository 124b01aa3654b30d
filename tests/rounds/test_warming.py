"""A seed of graded clips, without any pair, warms a critic and refreshes it."""

import itertools
import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from dualipo.critic.learning import warm_start
from dualipo.events import (
    RefreshEvent,
    SeedEvent,
    WarmStartDpoEvent,
    WarmStartSftEvent,
)
from dualipo.preferences import label_set
from dualipo.preferences.importers.load import import_labels
from dualipo.progress import PlainProgress
from dualipo.rounds import seed_labels, warming
from dualipo.rounds.loop import opened
from dualipo.world import corpus
from tests.rounds import harness as harnesses
from tests.rounds import models
from tests.rounds.harness import Harness
from tests.video_files import write_clip

SEED = ("rounds=0", "seed=3", "monitor.num_accuracy_pairs=0")
POINTS = (  # one round with a refresh, which needs no pair
    *("rounds=1", "align.loss_type=kto", "align.kto_labels=extremes"),
    *("warm_start_dpo.num_paths=8", "refresh.srpo.num_paths=8", "refresh.srpo.num_extra_pairs=6"),
)


def sha256_of(path: Path, version: str) -> str:
    with harnesses.ledger_of(path) as ledger:
        return ledger.version("critic", version).sha256


def test_lift_s_rationales_warm_a_critic_without_any_pair(
    models_folder: Path, memory: Path, tmp_path: Path
) -> None:
    asked = {
        "consistency": "semantic consistency issues",
        "faithfulness": "fidelity issues",
        "motion": "motion issues",
    }
    rows = []
    for number, grade in enumerate(("Good", "Normal", "Bad", "Good", "Bad", "Normal")):
        write_clip(tmp_path / f"{number}.mp4", models.noise_clip(str(number)), 8)
        question = f"<video>\n{corpus.caption(number)} Please identify the "
        turns = [
            {"from": who, "value": text}
            for about in asked.values()
            for who, text in (("human", question + about), ("gpt", f"{grade}. It was {about}."))
        ]
        rows.append({"id": str(number), "video": f"{number}.mp4", "conversations": turns})
    (tmp_path / "lift.json").write_text(json.dumps(rows))
    output = memory / "lift"
    import_labels("lift", [tmp_path / "lift.json"], root=tmp_path, output=output)
    traces = warm_start.traces(label_set.read(output).points)
    assert "It was motion issues.\n<grade>bad</grade>" in {trace.response for trace in traces}
    path = memory / "lifted"
    own = (*SEED, f"seed_labels.path={output}", *POINTS)
    assert harnesses.ended(harnesses.recipe(models_folder, path, *own)) == 0, harnesses.log(path)
    (event,) = harnesses.events(path, WarmStartSftEvent)
    assert 0 < event.num_traces < len(traces) == 18  # a part is held out
    (event,) = harnesses.events(path, SeedEvent)
    assert event.sources == {"human": 18}
    (event,) = harnesses.events(path, WarmStartDpoEvent)
    assert event.num_pairs > 0 and sha256_of(path, "sft") != sha256_of(path, "warm")
    (event,) = harnesses.events(path, RefreshEvent)  # whose revert rule reads the points held out
    assert event.outcome != "empty" and event.refinement and event.refinement.num_kept > 0
    assert 0 < event.refinement.holdout_before < 1 and event.refinement.holdout_after is not None


def test_constructed_pairs_join_the_seed_s_labels(harness: Harness) -> None:
    with harnesses.elsewhere(harness) as path:
        settings = harness.recipe(path, "rounds=0", "seed_labels.num_constructed=6")
        assert harnesses.ended(settings) == 0, harnesses.log(path)
        (more,) = harnesses.events(path, WarmStartSftEvent)
        (plain,) = harnesses.events(harness.path, WarmStartSftEvent)
        # A pair is learned from in both orders; a damage that nobody could see makes no pair.
        assert plain.num_traces + 6 <= more.num_traces <= plain.num_traces + 12
        assert sha256_of(path, "sft") != sha256_of(harness.path, "sft")


def test_a_tie_is_fine_tuned_on_and_never_preferred(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    with harnesses.elsewhere(harness) as path:
        shutil.copytree(harness.path, path)
        with opened(harness.recipe(path), PlainProgress()) as run:
            pairs, _ = seed_labels.training_labels(run)
            labels = [
                replace(pair, verdict=verdict)
                for pair, verdict in zip(pairs, itertools.cycle(("tie", "a", "b")))
            ]
            monkeypatch.setattr(seed_labels, "all_labels", lambda _: (labels, []))
            asked = {trace.ask.item_id for trace in warming.own_questions(run)}
    assert asked == {pair.pair_id for pair in labels if pair.verdict != "tie"} != set()
