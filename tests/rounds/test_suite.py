"""VBench in a run: a score in every round that triggers read, and whole dimensions on request."""

import json
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from dualipo.config import Config
from dualipo.evaluation import measured
from dualipo.evaluation.vbench import totals
from dualipo.evaluation.vbench.result_files import DimensionScore
from dualipo.events import MeasuredEvent, MonitorEvent
from dualipo.progress import PlainProgress
from dualipo.records import Candidate
from dualipo.rounds import commands, suite
from dualipo.rounds.loop import opened
from dualipo.suite_events import SuiteDimensionEvent, SuiteEvent
from tests import vbench_environment as stand_in
from tests.rounds import harness as harnesses

CHOSEN = ("temporal_flickering", "imaging_quality")


@dataclass(frozen=True)
class Scored:
    """A run of one round whose recipe has a suite."""

    path: Path
    settings: Config


@pytest.fixture(scope="module")
def scored(memory: Path, models_folder: Path) -> Scored:
    python = stand_in.make(memory / "env", stand_in.few_rows(), unavailable=["scene"])
    for seed in range(harnesses.MAX_SEEDS):
        path = memory / f"suite-{seed}"
        settings = harnesses.recipe(
            models_folder,
            path,
            *(f"seed={seed}", "rounds=1", "refresh.force_rounds=[]", "monitor.suite=vbench"),
            *(f"monitor.suite_python={python}", f"monitor.suite_dimensions={json.dumps(CHOSEN)}"),
        )
        assert harnesses.ended(settings) == 0, harnesses.log(path)
        if harnesses.events(path, MonitorEvent):  # the critic flips coins, and preferred something
            return Scored(path, settings)
    raise AssertionError("no seed gives a preference")


def _candidates(path: Path, name: str, round: int) -> list[Candidate]:
    with harnesses.ledger_of(path) as ledger:
        return [c for c in ledger.candidates(round) if c.candidate_id.startswith(f"{name}-")]


def _mean(path: Path, candidates: list[Candidate]) -> float:
    """Return the stand-in's mean score of clips, from the files in the clip store."""
    contents = [(path / f"clips/{c.clip[:2]}/{c.clip}.mp4").read_bytes() for c in candidates]
    return sum(sum(content) % 256 / 255 for content in contents) / len(contents)


def test_every_version_has_a_total_and_the_triggers_read_it(scored: Scored) -> None:
    base, first = harnesses.events(scored.path, SuiteEvent)
    assert (base.version, first.version) == ("base", "g000.0")
    for event, round_ in ((base, -1), (first, 0)):
        clips = _candidates(scored.path, "suite", round_)
        assert len(clips) == event.num_prompts == 4  # two prompts of each dimension, one clip each
        raw = {}
        for dimension in CHOSEN:
            own = [c for c in clips if c.caption in _prompts(dimension)]
            raw[dimension] = _mean(scored.path, own)
        expected = totals.totals(raw, CHOSEN)
        assert event.total == pytest.approx(expected.total)
        assert (event.sampled_with["num_inference_steps"], event.sampled_with["rewriter"]) == (
            2,
            None,
        )
        assert event.scored_with["vbench"] == "0.1.5" and event.scored_with["device"] == "cpu"
        assert len(event.prompts_hash) == 64
    [monitored] = harnesses.events(scored.path, MonitorEvent)
    assert monitored.signals.evaluation_total == first.total
    measures = [e for e in harnesses.events(scored.path, MeasuredEvent) if e.source == "vbench"]
    change = measured.named(measures[1].measurements, measured.TOTAL, against="base")
    assert change and change.num_prompts == 4 and change.low is not None
    assert first.total and base.total
    assert change.value == pytest.approx(first.total - base.total, abs=1e-3)
    seeds = [{c.caption: c.seed for c in _candidates(scored.path, "suite", r)} for r in (-1, 0)]
    assert seeds[0] == seeds[1], "every version starts from the same noise"


def _prompts(dimension: str) -> list[str]:
    return [row["prompt_en"] for row in stand_in.few_rows() if dimension in row["dimension"]]


def test_fault_52_a_prompt_that_a_shell_would_obey_is_a_file_name(scored: Scored) -> None:
    clips = scored.path / "vbench" / "base" / "suite" / "clips"
    assert {path.name for path in clips.iterdir()} >= {
        f"{stand_in.HOSTILE}-0.mp4",
        f"{stand_in.FACADES}-0.mp4",
    }
    assert not list(scored.path.rglob("owned"))


def test_a_repeated_run_scores_nothing_again(scored: Scored) -> None:
    before = harnesses.state(scored.path)
    assert harnesses.ended(scored.settings) == 0, harnesses.log(scored.path)
    assert harnesses.state(scored.path) == before


def _score(scored: Scored, python: Path, *dimensions: str) -> Callable[[], object]:
    return lambda: commands.score_version(
        scored.path, "g000.0", PlainProgress(), python=python, dimensions=dimensions
    )


def test_whole_dimensions_are_scored_on_request_and_a_gap_is_filled_later(
    scored: Scored, memory: Path
) -> None:
    # No prompt but its name: appearance_style and imaging_quality share one, scored for each.
    asked = ("appearance_style", "imaging_quality", "scene")
    lacking = Path(str(scored.settings.monitor.suite_python))
    code = harnesses.in_child(_score(scored, lacking, *asked), path=scored.path)
    assert code == 0, harnesses.log(scored.path)
    assert "scene" in harnesses.log(scored.path)
    [partial] = _whole(scored.path)
    assert partial.dimensions[2].raw is None and "cannot import" in str(partial.dimensions[2].why)
    done = {e.score.dimension for e in harnesses.events(scored.path, SuiteDimensionEvent)}
    assert done == {*CHOSEN, "appearance_style", "imaging_quality"}
    clips = _candidates(scored.path, "vbench", 0)
    shared = [c for c in clips if c.caption == stand_in.SHARED[0]]
    assert len(shared) == 5
    assert len(clips) == 5 * (2 + 2 + 2 - 1)
    capable = stand_in.make(memory / "capable", stand_in.few_rows())
    more = ("scene", "temporal_flickering")
    assert harnesses.in_child(_score(scored, capable, *more), path=scored.path) == 0
    _, event = _whole(scored.path)
    assert {s.dimension for s in event.dimensions} == {*asked, *more}
    assert all(s.num_scored == s.num_planned == 10 for s in event.dimensions)
    assert event.total is None, "only all sixteen dimensions make VBench's total"
    clips = _candidates(scored.path, "vbench_still", 0)
    assert len(clips) == 2 * 25
    summaries = [
        e for e in harnesses.events(scored.path, MeasuredEvent) if e.source == event.source
    ]
    assert measured.evaluation_total(summaries, "g000.0") is None, "triggers read the subset alone"
    rows = [*stand_in.few_rows(), {"prompt_en": "one more", "dimension": ["color"]}]
    other = stand_in.make(memory / "other", rows)
    assert harnesses.in_child(_score(scored, other, "color"), path=scored.path) == 1
    assert "is not the prompt file" in harnesses.log(scored.path)


def test_fault_60_a_suite_that_breaks_after_the_base_is_not_measured_and_ends_no_run(
    scored: Scored, memory: Path
) -> None:
    path = shutil.copytree(scored.path, memory / "broken")
    broken = scored.settings.monitor.model_copy(update={"suite_python": sys.executable})
    settings = scored.settings.model_copy(update={"monitor": broken, "output_dir": str(path)})

    def measure(round: int) -> None:
        with opened(settings, PlainProgress()) as run:
            suite.measure_round(run, round, 1, "g000.0")

    assert harnesses.in_child(lambda: measure(0), path=path) == 0, harnesses.log(path)
    assert "VBench of g000.0 is not measured" in harnesses.log(path)
    *_, event = harnesses.events(path, MeasuredEvent)
    [gap] = [m for m in event.measurements if m.name == measured.TOTAL]
    assert gap.value is None and str(gap.why).count("No module named 'vbench'") == 1
    assert "\n" not in str(gap.why)
    assert harnesses.in_child(lambda: measure(-1), path=path) == 1, "before the first round it ends"


def _whole(path: Path) -> list[SuiteEvent]:
    events = harnesses.events(path, SuiteEvent)
    return [event for event in events if event.source == measured.VBENCH_WHOLE]


def test_files_that_vbench_wrote_are_recorded_beside_what_was_measured(scored: Scored) -> None:
    results = {name: DimensionScore(name, 0.5, 8, 10, ("a-0.mp4",)) for name in totals.DIMENSIONS}

    def record() -> None:
        for _ in range(2):  # a file that is read twice is one score
            commands.import_scores(scored.path, "base", results, PlainProgress(), prompts_hash="")

    assert harnesses.in_child(record, path=scored.path) == 0, harnesses.log(scored.path)
    [event] = [
        event
        for event in harnesses.events(scored.path, SuiteEvent)
        if event.source == measured.VBENCH_IMPORTED
    ]
    assert event.version == "base"
    assert event.total == pytest.approx(totals.totals({n: 0.5 for n in totals.DIMENSIONS}).total)
    assert event.dimensions[0].failed == ["a-0.mp4"]
    summaries = harnesses.events(scored.path, MeasuredEvent)
    own, *_ = harnesses.events(scored.path, SuiteEvent)
    assert measured.evaluation_total(summaries, "base") == own.total, "triggers read the subset"
