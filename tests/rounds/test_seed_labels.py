"""A seed that people made beforehand warms the critic as one that the run asks for does."""

import shutil
from pathlib import Path

import pytest

from dualipo.captions import normalise
from dualipo.events import (
    SeedEvent,
)
from dualipo.preferences import label_set
from dualipo.preferences.importers.load import import_labels
from dualipo.records import Pair, Point, Prompt
from dualipo.rounds.run import BASE_ROUND
from dualipo.store import tables
from dualipo.store.ledger import Unit
from tests.rounds import harness as harnesses

SEED = ("rounds=0", "seed=3", "monitor.num_accuracy_pairs=0")
TABLES = {"seed-pairs.parquet": Pair, "seed-points.parquet": Point}


@pytest.fixture(scope="session")
def asked(models_folder: Path, memory: Path) -> Path:
    """Run a warm start with the simulated annotators; return its folder."""
    path = memory / "asked"
    assert harnesses.ended(harnesses.recipe(models_folder, path, *SEED)) == 0, harnesses.log(path)
    return path


@pytest.fixture(scope="session")
def labels(asked: Path, memory: Path) -> Path:
    """Return the seed of that run as a label set."""
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
        imported, original = (
            tables.read_records(run / "rounds/base" / name, record_type=record_type)
            for run in (path, asked)
        )
        assert imported == original
    assert {sha256_of(path, v) for v in ("sft", "warm")} == {
        sha256_of(asked, v) for v in ("sft", "warm")
    }
    (event,) = harnesses.events(path, SeedEvent)
    assert event.sources == {"simulated": 21} and event.excluded == {}
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


def test_fault_81_labels_of_clips_that_cannot_be_decoded_are_left_out_and_counted(
    labels: Path, models_folder: Path, memory: Path
) -> None:
    spoilt, path = memory / "spoilt-labels", memory / "without-a-clip"
    shutil.copytree(labels, spoilt)
    before = label_set.read(spoilt)
    lost = before.pairs[0].video_a
    label_set.clip_store(spoilt).path(lost).write_bytes(b"no film")
    settings = harnesses.recipe(models_folder, path, *SEED, f"seed_labels.path={spoilt}")
    assert harnesses.ended(settings) == 0, harnesses.log(path)
    of_it = [label for label in before.every if lost in label_set.clips_of(label)]
    [seed] = harnesses.events(path, SeedEvent)
    assert seed.excluded["of clips that cannot be decoded"] == len(of_it)
    assert seed.num_pairs + seed.num_points == len(before.every) - len(of_it)
    for name, record_type in TABLES.items():
        left = tables.read_records(path / "rounds/base" / name, record_type=record_type)
        assert all(lost not in label_set.clips_of(label) for label in left)
    assert "Labels of it are left out." in harnesses.log(path)
