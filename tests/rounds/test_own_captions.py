"""Captions of a user's own: no program judges their clips, people label them, a study has them."""

import html
import json
import re
import shutil
import sys
from pathlib import Path

import pytest

from dualipo.cli.main import main
from dualipo.config import Config
from dualipo.evaluation import run_history, summary
from dualipo.evaluation.report import report_page, report_tables
from dualipo.evaluation.report.charts import short
from dualipo.evaluation.share import model_card, trackers
from dualipo.evaluation.study import study_items
from dualipo.evaluation.vbench import result_files, totals
from dualipo.events import GalleryEvent, ScoreEvent, ScoresEvent
from dualipo.preferences import label_set
from dualipo.preferences.label_set import LabelSet
from dualipo.records import DIMENSIONS, Candidate, Pair, Prompt
from dualipo.rounds import sampling
from dualipo.store import tables
from dualipo.store.clips import ClipStore
from dualipo.store.ledger import Ledger
from dualipo.store.run_reader import RunReader
from dualipo.web.dashboard import Board
from tests import vbench_environment as stand_in
from tests.evaluation.share.test_trackers import figures as events_of
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
JUDGES = {"lena": 1.0, "omar": -1.0}
SUITE = {"base": 0.5, "g001.0": 0.6}  # of every dimension but the one that VBench itself scored
RECORDED = Path(__file__).parents[1] / "evaluation/vbench/recorded_eval_results.json"
NUM_VBENCH_PROMPTS = 75 + len({row["prompt_en"] for row in stand_in.few_rows()[2:]})
FIXED = {"test": "a bear walks", "monitor": "a wolf sits"}  # prompts of files of their own
PLACES = ("base/attempt-0", "000/attempt-0", "001/attempt-0")  # of base, g000.0 and g001.0


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


@pytest.fixture(scope="module")
def own(models_folder: Path, memory: Path, captions: Path, unlabelled: Path) -> Config:
    """Label the clips of the run that waits for people; it may go on with two judges."""
    path = memory / "own"
    _label(unlabelled, memory / "own-labels")
    shutil.copytree(unlabelled, path)
    return _judged(models_folder, path, captions)


@pytest.fixture(scope="module")
def cogvideox(own: Config, models_folder: Path, memory: Path) -> Config:
    """Run two rounds of another generator, with those labels, and fixed prompts of files."""
    named = harnesses.cogvideox(models_folder)
    for name, caption in FIXED.items():
        (memory / f"{name}.txt").write_text(f"{caption}\na caption too many\n")
        named.append(f"prompts.{name}_path={memory / name}.txt")
    plain = memory / "plain.csv"
    _write(plain, [f"a {animal} jumps" for animal in ("cat", "dog", "owl", "fox")])
    settings = _judged(models_folder, memory / "own-cogvideox", plain, *named, "rounds=2")
    assert harnesses.ended(settings) == 0, harnesses.log(memory / "own-cogvideox")
    return settings


def test_fixed_prompts_of_files_are_sampled_by_every_version_and_feed_gallery_and_study(
    cogvideox: Config,
) -> None:
    path = Path(cogvideox.output_dir)
    for name, caption in FIXED.items():
        tables_of = [path / "rounds" / place / f"{name}.parquet" for place in PLACES]
        sampled = [tables.read_records(table, record_type=Candidate) for table in tables_of]
        assert {clip.caption for clips in sampled for clip in clips} == {caption}
        seeds = [[clip.seed for clip in clips] for clips in sampled]
        assert seeds[0] and seeds == [seeds[0]] * len(PLACES), "every version has the same noise"
        items = study_items.of_run(path, ["base", "g000.0", "g001.0"], name=name)
        assert {item.caption for item in items} == {caption}
    galleries = harnesses.events(path, GalleryEvent)
    assert [event.captions for event in galleries] == [[FIXED["test"]]] * len(PLACES)


def _judged(models_folder: Path, path: Path, captions: Path, *overrides: str) -> Config:
    """Return the recipe with people's labels, clip metrics and two judges that are files."""
    memory = path.parent
    table = {"backend": "scores", "pretrained_model_name_or_path": f"{memory}/NAME.jsonl"}
    judges = [json.dumps({"name": "NAME"} | table).replace("NAME", name) for name in JUDGES]
    measured = ("monitor.clip_metrics=blocks", f"monitor.judges=[{','.join(judges)}]")
    labels = f"seed_labels.path={memory / 'own-labels'}"
    return _own(models_folder, path, captions, labels, *KTO, *measured, *overrides)


def test_own_test_clips_are_shown_and_asked_about_and_have_no_scores(
    own: Config, captions: Path
) -> None:
    path = Path(own.output_dir)
    assert harnesses.ended(own) == 0, harnesses.log(path)
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
    more = own.model_copy(update={"rounds": 2})
    assert harnesses.ended(more) == 0, "an exhausted list ends the run well"
    assert "captions can be used" in str(summary.as_dict(path)["ended_because"])
    _write(captions, [*CAPTIONS, *LEFT_OUT, "a fox runs", "a fox sits"])
    assert harnesses.ended(more) == 0, harnesses.log(path)
    told = summary.as_dict(path)
    assert (told["ended_because"], told["rounds_done"], told["finished"]) == (None, 2, True)
    _write(captions, [*CAPTIONS, *LEFT_OUT])


@pytest.mark.parametrize("family", ["own", "cogvideox"])
def test_judges_pixels_and_a_suite_stand_with_their_numbers_wherever_a_run_is_shown(
    family: str, request: pytest.FixtureRequest, captions: Path, memory: Path, tmp_path: Path
) -> None:
    """Measure the base and two rounds of a Wan or a CogVideoX, then read every place."""
    settings: Config = request.getfixturevalue(family)
    path, more = Path(settings.output_dir), settings.model_copy(update={"rounds": 2})
    _write(captions, [*CAPTIONS, *LEFT_OUT, "a fox runs", "a fox sits"])
    assert harnesses.ended(more) == 0, harnesses.log(path)
    _score(path, memory)
    assert harnesses.ended(more) == 0, harnesses.log(path)
    raw = {version: _imported(path, version, tmp_path / version) for version in SUITE}

    figures = summary.as_dict(path)["rounds"][-1]["measured"]
    suite = totals.totals(raw["g001.0"]).total
    assert figures["total (vbench, imported)"] == pytest.approx(suite)
    assert (figures["wins (judge:lena)"], figures["losses (judge:omar)"]) == (1.0, 1.0)
    motion, total = short(figures["dynamic degree (pixels)"]), f"{suite:.2f}"
    rates = {name: figures[f"win rate (judge:{name})"] for name in JUDGES}
    rows = [
        f"round 1 judge:lena {100 * rates['lena']:.0f} % 100 / 0 / 0",
        f"round 1 judge:omar {100 * rates['omar']:.0f} % 0 / 0 / 100",
        f"round 1 pixels {motion}",
        f"round 1 files of VBench {NUM_VBENCH_PROMPTS} prompts {total}",
    ]
    card = model_card.render(path, "g001.0")
    for place in (report_page.build(path), Board(path).page(), card):
        assert [row for row in rows if row not in _words(place)] == []
    status = _words(summary.table(path))
    assert f"{motion} {short(suite)} {short(rates['lena'])} {short(rates['omar'])}" in status
    assert f"judge:lena prompts won against the base — {100 * rates['lena']:.1f} %" in status
    trackers.follow(path, to="tensorboard", folder=tmp_path / "events", is_over=lambda: True)
    sent = events_of(tmp_path / "events")
    for name, value in figures.items():
        assert sent[f"rounds/{name}"][-1] == (2, pytest.approx(value, rel=1e-5)), name
    _write(captions, [*CAPTIONS, *LEFT_OUT])


def _imported(run: Path, version: str, folder: Path) -> dict[str, float]:
    """Import VBench's files about a version by the command; return each dimension's raw score.

    Temporal flickering is what the real package wrote, the others what the stand-in writes.
    """
    raw = dict.fromkeys(totals.DIMENSIONS, SUITE[version])
    del raw["temporal_flickering"]
    stand_in.write_results(folder, raw)
    shutil.copy(RECORDED, folder)
    command = ["vbench", "score", f"{folder}", "--into", f"{run}", "--version", version]
    code = harnesses.in_child(lambda: sys.exit(main(command)), path=run)
    assert code == 0, harnesses.log(run)
    [real] = result_files.read(RECORDED, {})
    return raw | {real.dimension: real.raw}


def _score(path: Path, folder: Path) -> None:
    """Write what the judges say: the last version is the best to one, the worst to the other."""
    for name, sign in JUDGES.items():
        rows = []
        for at, place in enumerate(PLACES):
            table = path / "rounds" / place / "test.parquet"
            for candidate in tables.read_records(table, record_type=Candidate):
                rows.append(json.dumps({"path": f"{candidate.clip}.mp4", "score": sign * at}))
        (folder / f"{name}.jsonl").write_text("\n".join(rows))


def _words(text: str) -> str:
    """Return the words of a page or of Markdown without what sets them out."""
    return " ".join(html.unescape(re.sub(r"<[^>]+>|[|,]", " ", text)).split())


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
