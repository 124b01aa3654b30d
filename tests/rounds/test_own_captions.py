"""Captions of a user's own: no program judges their clips, people label them, a study has them."""

import shutil
from pathlib import Path

import pytest

from dualipo.config import Config
from dualipo.evaluation import run_history, summary
from dualipo.evaluation.report import report_tables
from dualipo.evaluation.study import study_items
from dualipo.events import GalleryEvent, ScoreEvent, ScoresEvent
from dualipo.preferences import label_set
from dualipo.preferences.label_set import LabelSet
from dualipo.records import DIMENSIONS, Candidate, Pair, Prompt
from dualipo.rounds import sampling
from dualipo.store import tables
from dualipo.store.clips import ClipStore
from dualipo.store.ledger import Ledger
from dualipo.store.run_reader import RunReader
from tests.rounds import harness as harnesses

SHELL = "sits'; touch canary; $(touch canary) `touch canary` && touch canary #"  # fault 52
CAPTIONS = [f"a {animal} {verb}" for animal in ("cat", "dog", "owl") for verb in ("runs", SHELL)]
LEFT_OUT = [*(f"a c\u200bat {n}" for n in range(4)), "A  Cat runs"]
OWN = (
    "rounds=1",
    "prompts.source=file",
    "prompts.num_prompts=2",
    "seed_labels.num_prompts=2",
    "monitor.num_audit_labels=0",
    "align.real_nll_ratio=0",
    "refresh.force_rounds=[]",
)
KTO = ("align.loss_type=kto", "align.kto_labels=extremes")


@pytest.fixture(scope="module")
def captions(memory: Path) -> Path:
    path = memory / "captions.csv"
    _write(path, [*CAPTIONS, *LEFT_OUT])
    return path


def _write(path: Path, captions: list[str]) -> None:
    """Write captions with their categories."""
    rows = [f"{'bird' if 'owl' in caption else 'mammal'},{caption}" for caption in captions]
    path.write_text("\n".join(["category,caption", *rows]))


@pytest.fixture(scope="module")
def unlabelled(models_folder: Path, memory: Path, captions: Path) -> Path:
    """Run without labels; the run ends once the clips for people are there."""
    path = memory / "unlabelled"
    assert harnesses.ended(_own(models_folder, path, captions)) == 1
    return path


def test_a_run_without_labels_leaves_its_clips_to_people(unlabelled: Path) -> None:
    assert len(_seed_clips(unlabelled)) == 4
    log = harnesses.log(unlabelled)
    assert "4 clips of 2 captions are there for people to label" in log
    assert f"`dualipo label {unlabelled}`" in log and f"seed_labels.path={unlabelled}" in log
    told = summary.table(unlabelled)
    assert "waits for people: " in told and "failed" not in told
    assert "simulated" not in told, "nobody has labelled anything"


def test_fault_52_a_caption_that_a_shell_would_obey_stays_a_caption(unlabelled: Path) -> None:
    prompts = (unlabelled / "rounds" / "base").glob("prompts-*.parquet")
    captions = [
        prompt.caption
        for path in prompts
        for prompt in tables.read_records(path, record_type=Prompt)
    ]
    assert any(SHELL in caption for caption in captions)
    assert not Path("canary").exists() and not list(unlabelled.parent.rglob("canary"))


def test_fault_95_what_no_clip_is_made_of_is_counted_and_said_with_its_first_examples(
    unlabelled: Path,
) -> None:
    refused, folded = "captions refused (a zero-width or direction character)", sampling.REPEATS
    said = f"4 {refused}: a c<U+200B>at 0; a c<U+200B>at 1; a c<U+200B>at 2\n"
    log = harnesses.log(unlabelled)
    assert said in log and f"1 {folded}: A  Cat runs\n" in log
    table = report_tables.left_out(run_history.read(RunReader(unlabelled)))
    assert [row[:3] for row in table.rows] == [["base", "1", folded], ["base", "4", refused]]


def test_own_test_clips_are_shown_and_asked_about_and_have_no_scores(
    models_folder: Path, memory: Path, captions: Path, unlabelled: Path
) -> None:
    labels, path = memory / "own-labels", memory / "own"
    _label(unlabelled, labels)
    shutil.copytree(unlabelled, path)  # the run that waited for labels goes on with them
    settings = _own(
        models_folder, path, captions, f"seed_labels.path={labels}",
        *KTO,
    )  # fmt: skip
    assert harnesses.ended(settings) == 0, harnesses.log(path)
    ledger = Ledger(path / "ledger.sqlite", read_only=True)
    scores, galleries = ledger.events(ScoresEvent), ledger.events(GalleryEvent)
    ((_, judged),) = ledger.events(ScoreEvent)
    ledger.close()
    assert len(scores) == 2 and not any(event.total for _, event in scores)
    assert all(event.clips for _, event in galleries)
    for name, num_clips in (("test", 2), ("monitor", 4)):  # of one prompt each, by two versions
        assert len(study_items.of_run(path, ["base", "g000.0"], name=name)) == num_clips
    texts = (path / "report.html").read_text() + (path / "cards" / "g000.0.md").read_text()
    assert "No program can score clips of your own captions" in texts
    assert "People made the seed labels behind this model" in texts
    assert "simulated labels" not in texts and "are simulated" not in texts
    assert judged.categories and "mean score of the clips of each category" in texts
    assert sum(score.num_prompts for score in judged.categories.values()) == 2
    for name, score in judged.categories.items():
        shown = f"{score.mean:.3f}\n{score.num_prompts} prompts"
        assert f'<th scope="row">{name}</th><td>{shown}' in texts
    assert "the seed compares clips and grades none" in harnesses.log(path)
    more = _own(models_folder, path, captions, f"seed_labels.path={labels}", *KTO, "rounds=2")
    assert harnesses.ended(more) == 0, "an exhausted list ends the run well"
    assert "captions can be used" in str(summary.as_dict(path)["ended_because"])
    _write(captions, [*CAPTIONS, *LEFT_OUT, "a fox runs", "a fox sits"])
    assert harnesses.ended(more) == 0, harnesses.log(path)
    told = summary.as_dict(path)
    assert (told["ended_because"], told["rounds_done"], told["finished"]) == (None, 2, True)
    _write(captions, [*CAPTIONS, *LEFT_OUT])


def test_captions_that_do_not_last_for_all_rounds_are_refused_before_the_warm_start(
    models_folder: Path, memory: Path, captions: Path
) -> None:
    path = memory / "too-few"
    assert harnesses.ended(_own(models_folder, path, captions, "rounds=2")) == 1
    assert "2 distinct captions can be used" in harnesses.log(path)
    _write(captions, [*CAPTIONS, "a fox runs", "a fox sits"])
    assert harnesses.ended(_own(models_folder, path, captions, "rounds=2")) == 1
    assert "are there for people to label" in harnesses.log(path)  # the same run went on


def _own(models_folder: Path, path: Path, captions: Path, *overrides: str) -> Config:
    return harnesses.recipe(models_folder, path, *OWN, f"prompts.path={captions}", *overrides)


def _seed_clips(run: Path) -> list[Candidate]:
    table = run / "rounds" / "base" / "attempt-0" / "seed.parquet"
    return tables.read_records(table, record_type=Candidate)


def _label(run: Path, folder: Path) -> None:
    """Write a label set in which the first clip of each caption wins in every dimension."""
    clips = _seed_clips(run)
    store = label_set.clip_store(folder)
    for candidate in clips:
        store.add(ClipStore(run / "clips").path(candidate.clip), sha256=candidate.clip)
    pairs = tuple(
        Pair(f"{a.prompt_id}-{dimension}", a.prompt_id, a.caption, a.clip, b.clip, dimension, "a",
             "human", "ada")
        for a, b in zip(clips[::2], clips[1::2], strict=True)
        for dimension in DIMENSIONS
    )  # fmt: skip
    label_set.write(folder, LabelSet(pairs), history=[])
