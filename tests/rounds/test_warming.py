"""A seed that people made beforehand warms the critic as one asked for on the way does."""

import json
from pathlib import Path
from typing import Any

import pytest

from dualipo.captions import normalise
from dualipo.critic.learning import warm_start
from dualipo.events import (
    RefreshEvent,
    RewriteEvent,
    SeedEvent,
    WarmStartDpoEvent,
    WarmStartSftEvent,
)
from dualipo.preferences import label_set
from dualipo.preferences.importers.load import import_labels
from dualipo.records import Pair, Point, Prompt
from dualipo.rounds.run import BASE_ROUND
from dualipo.store import tables
from dualipo.store.ledger import Unit
from dualipo.world import corpus
from tests.rounds import harness as harnesses
from tests.rounds import models
from tests.servers import loopback
from tests.video_files import write_clip

SEED = ("rounds=0", "seed=3", "monitor.num_accuracy_pairs=0")
POINTS = (  # what a seed of grades is for; a round of it with a refresh
    *("rounds=1", "align.loss_type=kto", "align.kto_labels=extremes"),
    *("warm_start_dpo.num_paths=8", "refresh.srpo.num_paths=8", "refresh.srpo.num_extra_pairs=6"),
)
GRADES = tuple(f"<grade>{grade}</grade>" for grade in ("good", "normal", "bad"))
TABLES = {"seed-pairs.parquet": Pair, "seed-points.parquet": Point}


@pytest.fixture(scope="session")
def asked(models_folder: Path, memory: Path) -> Path:
    """A run's warm start with the simulated annotators."""
    path = memory / "asked"
    assert harnesses.ended(harnesses.recipe(models_folder, path, *SEED)) == 0, harnesses.log(path)
    return path


@pytest.fixture(scope="session")
def labels(asked: Path, memory: Path) -> Path:
    """Its seed as a label set."""
    output = memory / "labels"
    files = [asked / "rounds/base" / name for name in TABLES]
    import_labels("native", files, root=asked, output=output)
    return output


def sha256_of(path: Path, version: str) -> str:
    with harnesses.ledger_of(path) as ledger:
        return ledger.version("critic", version).sha256


def test_the_same_labels_from_a_label_set_make_the_same_critic(
    asked: Path, labels: Path, models_folder: Path, memory: Path
) -> None:
    path = memory / "imported"
    settings = harnesses.recipe(models_folder, path, *SEED, f"seed_labels.path={labels}")
    names = memory / "imported-names"
    assert harnesses.ended(settings, fail=f"count@{names}") == 0, harnesses.log(path)
    for name, record_type in TABLES.items():
        here, there = (run / "rounds/base" / name for run in (path, asked))
        assert tables.read_records(here, record_type=record_type) == tables.read_records(
            there, record_type=record_type
        )
    assert {sha256_of(path, v) for v in ("sft", "warm")} == {
        sha256_of(asked, v) for v in ("sft", "warm")
    }
    (event,) = harnesses.events(path, SeedEvent)
    assert event.sources == {"simulated": 12} and event.excluded == {}
    with harnesses.ledger_of(path) as ledger:
        sampled = [c for c in ledger.candidates(BASE_ROUND) if c.candidate_id.startswith("seed")]
    assert not sampled
    clean = harnesses.state(path)
    hits = names.read_text().split()
    first = hits.index("seed-pairs.parquet.before_rename") + 1
    for hit in (first, first + 1, hits.index("clip.after_rename") + 1):
        again = memory / f"imported-{hit}"
        settings = harnesses.recipe(models_folder, again, *SEED, f"seed_labels.path={labels}")
        assert harnesses.ended(settings, fail=f"kill@{hit}") == -9
        assert harnesses.ended(settings) == 0, harnesses.log(again)
        assert harnesses.state(again) == clean


def test_no_prompt_of_the_label_set_is_tested_on(
    labels: Path, models_folder: Path, memory: Path
) -> None:
    path = memory / "imported"
    folder = path / "rounds/base"
    seed = {normalise(label.prompt) for label in label_set.read(labels).every}
    for name in ("test", "monitor", "seed"):
        prompts = tables.read_records(folder / f"prompts-{name}.parquet", record_type=Prompt)
        captions = {normalise(prompt.caption) for prompt in prompts}
        assert captions == seed if name == "seed" else not captions & seed


def test_fault_67_a_label_set_that_is_too_small_is_refused_before_it_is_taken(
    labels: Path, models_folder: Path, memory: Path
) -> None:
    path = memory / "small"
    own = (f"seed_labels.path={labels}", "seed_labels.min_per_verdict=50")
    settings = harnesses.recipe(models_folder, path, *SEED, *own)
    assert harnesses.ended(settings) == 1
    assert "human seed: too small or one-sided (consistency a: " in harnesses.log(path)
    with harnesses.ledger_of(path) as ledger:
        assert not ledger.is_done(Unit(BASE_ROUND, 0, "label"))
    missing = harnesses.recipe(models_folder, memory / "m", *SEED, "seed_labels.path=nowhere")
    assert harnesses.ended(missing) == 1
    assert "nowhere: this is no label set" in harnesses.log(memory / "m")


def test_reasons_worded_anew_are_asked_for_once_and_learnt_after_a_kill(
    models_folder: Path, memory: Path
) -> None:
    def say(body: dict[str, Any], count: int) -> str:
        told = body["messages"][1]["content"]
        return next((f"So.\n{tag}" for tag in GRADES if f"{tag}\n" in told), "no idea")

    with loopback.serving(say) as server:
        own = (f"seed_labels.rewriter.base_url={server.url}", "seed_labels.rewriter.model=writer")
        clean, killed = (memory / name for name in ("reworded", "reworded-killed"))
        names = memory / "reworded-names"
        settings = harnesses.recipe(models_folder, clean, *SEED, *own)
        assert harnesses.ended(settings, fail=f"count@{names}") == 0, harnesses.log(clean)
        (event,) = harnesses.events(clean, RewriteEvent)
        assert event.fates["rewritten"] > 0 and sum(event.fates.values()) == len(server.requests)
        hits = names.read_text().split()
        last = len(hits) - hits[::-1].index("traces-0000.parquet.after_rename")
        settings = harnesses.recipe(models_folder, killed, *SEED, *own)
        assert harnesses.ended(settings, fail=f"kill@{last + 3}") == -9
        server.say = loopback.failing(404)  # nothing is asked again
        assert harnesses.ended(settings) == 0, harnesses.log(killed)
        assert harnesses.state(killed) == harnesses.state(clean)


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
