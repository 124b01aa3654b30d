"""The published table of a suite's scores, in the report and in the model card."""

from dataclasses import replace

from dualipo.config import leaves
from dualipo.config.experiment import Config
from dualipo.evaluation import measured
from dualipo.evaluation.report import suite_scores
from dualipo.evaluation.report.headline import DASH
from dualipo.evaluation.run_history import RoundHistory, RunHistory
from dualipo.evaluation.vbench.totals import DIMENSIONS
from dualipo.event_parts import SuiteDimension
from dualipo.suite_events import SuiteEvent


def _score(dimension: str, raw: float | None, failed: list[str] | None = None) -> SuiteDimension:
    return SuiteDimension(
        dimension=dimension,
        raw=raw,
        num_scored=8,
        num_planned=10,
        failed=failed or [],
        why=None if raw is not None else "no weights",
    )


def _event(source: str, version: str, total: float | None) -> SuiteEvent:
    return SuiteEvent(
        source=source,
        version=version,
        total=total,
        quality=82.18 if total else None,
        semantic=75.83 if total else None,
        dimensions=[_score(name, 0.5) for name in DIMENSIONS],
        prompts_hash="ab" * 32,
        num_prompts=944,
        sampled_with={"fps": 16, "seed": 7},
        scored_with={"vbench": "0.1.5"},
    )


def _history(*rounds: RoundHistory) -> RunHistory:
    return RunHistory("demo", leaves(Config()), rounds[0], list(rounds[1:]))


def test_the_table_has_total_quality_semantic_and_sixteen_dimensions() -> None:
    base = RoundHistory(-1, suites=[_event(measured.VBENCH_WHOLE, "base", 80.91)])
    partial = _event(measured.VBENCH, "g000.0", None)
    lacking = [
        _score("color", None),
        _score("scene", 0.4111, ["a-0.mp4", "b-0.mp4"]),
        replace(_score("human_action", 0.5), left_out=["a-0.mp4"]),
    ]
    first = RoundHistory(0, suites=[replace(partial, dimensions=lacking)])
    section = suite_scores.section(_history(base, first))
    [table] = section.tables
    assert len(table.head) == 2 + 3 + 16
    assert table.rows[0][1:6] == [
        "the whole suite, 944 prompts",
        "80.91",
        "82.18",
        "75.83",
        "50.00",
    ]
    assert table.rows[1][2:6] == [DASH] * 4 and table.rows[1][table.head.index("scene")] == "41.11"
    notes = "\n".join(section.notes)
    assert "g000.0, color: not measured, so there is no total." in notes
    assert "g000.0, scene: 2 of 10 clips count as zero." in notes
    assert "g000.0, human action: 1 of 10 clips are not counted, as VBench sees no object" in notes
    assert "Scored with vbench 0.1.5." in notes and "ab" * 32 in notes
    assert "within this run only" in notes
    assert not section.charts, "there is no total of the subset to draw"
    card = suite_scores.in_markdown([base, first])
    assert card.startswith("## VBench") and "| 80.91 | 82.18 | 75.83 |" in card
    assert suite_scores.in_markdown([RoundHistory(0)]) == ""


def test_the_last_score_of_a_source_is_shown_and_the_subset_is_drawn() -> None:
    events = [_event(measured.VBENCH, "base", total) for total in (70.0, 71.5)]
    section = suite_scores.section(_history(RoundHistory(-1, suites=events)))
    assert len(section.charts) == 1
    assert [row[2] for row in section.tables[0].rows] == ["71.50"]
