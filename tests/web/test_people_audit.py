"""A run whose audit is by people: it stops, is labelled in a browser by keyboard, and goes on."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from dualipo.cli.main import main
from dualipo.events import MonitorEvent, RefreshEvent
from dualipo.preferences import label_queue
from dualipo.progress import PlainProgress
from dualipo.records import DIMENSIONS, Candidate, Pair, Prompt
from dualipo.rounds import audit, commands, judging
from dualipo.rounds.loop import opened
from dualipo.rounds.pair_sources import audit as pair_sources_audit
from dualipo.store import tables
from dualipo.store.label_tables import BOOK
from dualipo.store.labels import LabelItem
from dualipo.store.ledger import Unit
from tests.rounds import harness as harnesses
from tests.web.test_pages import save

ROOT = Path(__file__).parents[2]
NUM_LABELS = 10  # four pairs, each in three dimensions


@pytest.fixture(scope="module")
def memory() -> Iterator[Path]:
    with harnesses.memory_folder() as folder:
        yield folder


def _command(path: Path, models_folder: Path, seed: int) -> list[str]:
    return [
        *("run", str(harnesses.RECIPE), f"output_dir={path}", f"seed={seed}", "rounds=1"),
        *harnesses.model_overrides(models_folder),
        *('refresh.sources=["audit"]', "refresh.min_pairs=1", "prompts.num_monitor_prompts=6"),
        *("monitor.audit=people", f"monitor.num_audit_labels={NUM_LABELS}"),
    ]


def _ended(command: list[str], path: Path) -> int:
    """Run a command in a fork, as this process has the imports; return its exit code."""
    return harnesses.in_child(lambda: os._exit(main(command)), path=path)


@pytest.fixture(scope="module")
def waiting(memory: Path) -> tuple[Path, list[str]]:
    """Run until it waits for people; return the run and its command."""
    models_folder = harnesses.make_models(memory / "models")
    for seed in range(harnesses.MAX_SEEDS):
        path = memory / f"run-{seed}"
        command = _command(path, models_folder, seed)
        code = _ended(command, path)
        if code == 6:
            return path, command
        assert code == 0, harnesses.log(path)  # the critic flips coins, and preferred nothing
    raise AssertionError("no seed gives a preference")


@contextmanager
def _label_page(path: Path) -> Iterator[str]:
    """Serve the page as the run's message says; yield ada's link."""
    command = [sys.executable, "-m", "dualipo.cli.main", "label", str(path), "--audit", "0"]
    process = subprocess.Popen(
        [*command, "--invite", "ada", "--repeats", "0", "--port", "0"],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout
        yield next(line for line in process.stdout if line.startswith("ada: ")).split()[1]
    finally:
        process.terminate()
        process.wait(timeout=30)


def test_fault_83_a_run_waits_for_people_and_goes_on_with_their_labels(
    waiting: tuple[Path, list[str]], browser: Browser
) -> None:
    path, command = waiting
    said = harnesses.log(path)
    assert "answered 0 of the 4 pairs of its audit" in said
    assert f"dualipo label {path} --audit 0 --invite NAME" in said
    assert not harnesses.events(path, MonitorEvent)
    with _label_page(path) as link:
        context = browser.new_context()
        page = context.new_page()
        page.goto(link)
        expect(page.locator("#count")).to_have_text("0 of 4")
        keys = "abt" * 3
        for key in keys[: NUM_LABELS - 1]:
            save(page, key)
        assert _ended(command, path) == 6, "three of four pairs are not enough"
        assert "answered 3 of the 4 pairs" in harnesses.log(path)
        for key in "ab":
            save(page, key)
        page.keyboard.press("t")
        page.keyboard.press("Enter")
        expect(page.locator("body")).to_contain_text("4 of 4")
        context.close()
    code = _ended(command, path)  # it waits again where the refreshed critic made a generator
    assert code in (0, 6), harnesses.log(path)
    [monitored] = harnesses.events(path, MonitorEvent)
    assert monitored.signals.audit_accuracy is not None
    labels = tables.read_records(path / "rounds/000/attempt-0/audit.parquet", record_type=Pair)
    assert len(labels) == 4 * len(DIMENSIONS)
    assert {(label.source, label.annotator_or_critic_version) for label in labels} == {
        ("human", "ada")
    }
    _require_apart(path, labels)
    harnesses.state(path)  # every file has its row
    assert harnesses.in_child(lambda: _require_halves(path), path=path) == 0, harnesses.log(path)
    before = harnesses.state(path)
    assert _ended(command, path) == code
    assert harnesses.state(path) == before


def _require_halves(path: Path) -> None:
    """Assert that the refresh took labels of half of the prompts, and the signals the others."""
    with opened(commands.config_of(path), PlainProgress()) as run:
        labels = audit.newest(run, 0, 0)
        taught, kept = audit.learning(run, labels), audit.measuring(run, labels)
        learnt = pair_sources_audit.pairs(run, Unit(0, 0, "refresh"), []).pairs
        assert learnt == taught, "a refresh is given the labels that teach, and no others"
        doubts = label_queue.uncertainty(judging.read_votes(run, Unit(0, 0, "audit_votes")))
    assert len(taught) == len(kept) == len(labels) / 2
    assert not {label.prompt_id for label in taught} & {label.prompt_id for label in kept}
    clips = [(pair, {pair.video_a: "", pair.video_b: ""}) for pair in labels]
    asked = {LabelItem.of_pair(p.prompt_id, p.prompt, own).item_id for p, own in clips}
    assert len(doubts) == 3, "half of the prompts may teach, and two of their pairs are asked"
    [passed_over] = doubts.keys() - asked
    assert doubts[passed_over] == min(doubts.values()), "the critic is the surest of it"
    [refresh] = harnesses.events(path, RefreshEvent)
    assert refresh.refinement and refresh.refinement.sources
    [source] = refresh.refinement.sources
    assert source.name == "audit" and 0 < source.num_pairs <= len(taught)


def _require_apart(path: Path, labels: list[Pair]) -> None:
    """Assert that nothing which trains a critic or a generator holds what people judged."""
    judged = {clip for label in labels for clip in (label.video_a, label.video_b)}
    prompts = {label.prompt_id for label in labels}
    base, first = path / "rounds" / "base", path / "rounds" / "000"
    assert not (path / BOOK).exists(), "no export or seed takes an audit's answers"
    seeds = tables.read_records(base / "seed-pairs.parquet", record_type=Pair)
    assert not judged & {clip for pair in seeds for clip in (pair.video_a, pair.video_b)}
    candidates = tables.read_records(first / "candidates.parquet", record_type=Candidate)
    assert not judged & {candidate.clip for candidate in candidates}
    trained = tables.read_records(first / "prompts.parquet", record_type=Prompt)
    assert not prompts & {prompt.prompt_id for prompt in trained}
