"""Clip metrics and judges that never train, in a whole run: recorded, resumed, never learnt from.

One judge is a folder, one a table of scores that is not there until the first run is over.
"""

import json
import shutil
from pathlib import Path
from statistics import fmean

import pytest

from benchmarks import monitors
from dualipo.config import Config
from dualipo.evaluation import judgements, measured, pixels, summary
from dualipo.events import MeasuredEvent, MonitorEvent
from dualipo.progress import PlainProgress
from dualipo.records import DIMENSIONS, Candidate, Verdict
from dualipo.rounds import closing
from dualipo.rounds.loop import opened
from dualipo.store import tables
from dualipo.store.ledger import Unit
from tests.rounds import harness as harnesses

pytestmark = pytest.mark.slow

MONITORED = (
    *("rounds=1", "refresh.force_rounds=[]", "monitor.clip_metrics=blocks", "monitor.suite=world"),
    *("prompts.num_monitor_prompts=2", "prompts.num_test_prompts=2", "align.learning_rate=1e-2"),
)


@pytest.fixture(scope="module")
def table(memory: Path) -> Path:
    return memory / "scores.jsonl"


@pytest.fixture(scope="module")
def run(models_folder: Path, memory: Path, table: Path) -> Path:
    """Run a round whose judge's process is killed, then ask again; the table stays missing."""
    path = memory / "monitored"
    settings = _settings(models_folder, path, table)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DUALIPO_FAIL", "kill@1")  # read by new processes alone
        assert harnesses.ended(settings) == 0, harnesses.log(path)
    shutil.copy(f"{path}.log", memory / "crashed.log")
    assert harnesses.ended(settings) == 0, harnesses.log(path)
    return path


def _settings(models_folder: Path, path: Path, table: Path) -> Config:
    twin = {"max_abstain_rate": 1.0, "min_entropy": 0.0, "max_position_share": 1.0}
    twin |= {"max_frames": 1, "max_new_tokens": 24}
    judges = [
        {"name": "twin", "pretrained_model_name_or_path": str(models_folder / "critic"), **twin},
        {"name": "table", "backend": "scores", "pretrained_model_name_or_path": str(table)},
    ]
    return harnesses.recipe(models_folder, path, *MONITORED, f"monitor.judges={json.dumps(judges)}")


def _measured(run: Path, source: str) -> dict[str, MeasuredEvent]:
    events = measured.newest(harnesses.events(run, MeasuredEvent))
    return {event.version: event for event in events if event.source == source}


def test_every_version_has_clip_metrics_compared_with_the_base(run: Path) -> None:
    base, version = _measured(run, measured.PIXELS).values()
    assert (base.version, version.version) == ("base", "g000.0")
    assert {m.name for m in base.measurements} == set(pixels.METRICS)
    changes = [m for m in version.measurements if m.against == "base"]
    assert {m.name for m in changes} == set(pixels.METRICS)
    assert all(m.num_prompts == 2 and m.low is not None for m in changes)


def test_a_judge_counts_wins_ties_and_losses_by_dimension_over_prompts(run: Path) -> None:
    (event,) = _measured(run, measured.JUDGE + "twin").values()
    rates = [m for m in event.measurements if m.name == judgements.WIN_RATE]
    assert {m.dimension for m in rates} == {None, *DIMENSIONS}
    for rate in rates:
        shares = {m.name: m.value for m in event.measurements if m.dimension == rate.dimension}
        win_rate = shares.pop(judgements.WIN_RATE)
        assert sum(filter(None, shares.values())) == pytest.approx(1.0)
        if rate.dimension:
            assert win_rate == shares["wins"] + shares["ties"] / 2  # type: ignore[operator]


def test_fault_61_a_judge_whose_process_is_killed_is_not_measured_and_ends_no_run(
    run: Path, memory: Path
) -> None:
    said = (memory / "crashed.log").read_text()
    assert "judge twin: g000.0 is not measured: its process failed: its worker was ended" in said
    twin = [e for e in harnesses.events(run, MeasuredEvent) if e.source == measured.JUDGE + "twin"]
    assert [judgements.is_measured(event) for event in twin] == [False, True], "asked again"


def test_fault_61_a_judge_that_is_down_is_not_measured_and_asked_when_the_run_goes_on(
    run: Path, models_folder: Path, table: Path
) -> None:
    (down,) = _measured(run, measured.JUDGE + "table").values()
    assert not judgements.is_measured(down) and "scores.jsonl" in str(down.measurements[0].why)
    assert "judge table: g000.0 is not measured" in harnesses.log(run)
    clips = {name: _test_clips(run, folder) for name, folder in PLACES.items()}
    rows = [
        {"path": f"{c.clip}.mp4", "score": float(name == "g000.0")}
        for name, own in clips.items()
        for c in own
    ]
    table.write_text("".join(json.dumps(row) + "\n" for row in rows))
    before = harnesses.state(run)
    assert harnesses.ended(_settings(models_folder, run, table)) == 0, harnesses.log(run)
    (up,) = _measured(run, measured.JUDGE + "table").values()
    assert judgements.is_measured(up) and up.measurements[0].value > 0.5  # type: ignore[operator]
    after = harnesses.state(run)
    assert before.keys() <= after.keys(), "nothing was made anew"
    assert {name for name in after if after[name] != before.get(name)} == {
        "ledger", "rounds/000/attempt-0/judge_votes/votes-100000.parquet"
    }  # fmt: skip


def test_status_report_and_card_show_what_was_measured(run: Path) -> None:
    status = summary.table(run)
    for column in ("win rate (judge:twin)", "dynamic degree (pixels)", "total (world suite)"):
        assert column in status
    report = (run / "report.html").read_text()
    assert "What do judges and pixels say?" in report and "judge:twin" in report
    card = (run / "cards" / "g000.0.md").read_text()
    assert "## Judges and pixels" in card and "| round 0 | judge:twin |" in card


def test_the_worlds_own_suite_has_a_total_that_the_triggers_read(run: Path) -> None:
    base, version = _measured(run, measured.WORLD_SUITE).values()
    totals = [measured.named(each.measurements, measured.TOTAL) for each in (base, version)]
    values = [total.value for total in totals if total and total.value is not None]
    (monitored,) = harnesses.events(run, MonitorEvent)
    assert monitored.signals.evaluation_total == values[1]
    parts = [m.value for m in version.measurements if m.name != measured.TOTAL]
    assert len(parts) == 5 and values[1] == pytest.approx(fmean(filter(None, parts)), abs=0.01)
    change = measured.named(version.measurements, measured.TOTAL, against="base")
    assert change and change.value == pytest.approx(values[1] - values[0], abs=0.01)


def test_a_judge_ends_the_run_where_a_loss_is_shown_and_the_recipe_lets_it(
    run: Path, models_folder: Path, memory: Path, table: Path
) -> None:
    path = shutil.copytree(run, memory / "stopped")
    settings = _settings(models_folder, path, table)
    twin, scores = settings.monitor.judges
    judges = (twin, scores.model_copy(update={"stops_run": True}))
    monitor = settings.monitor.model_copy(update={"judges": judges})
    stopping = settings.model_copy(update={"monitor": monitor})

    def require_stop() -> None:
        verdicts: dict[str, dict[str, list[Verdict]]] = {
            f"p{n}": {"motion": ["b"]} for n in range(12)
        }
        lost = judgements.of_verdicts("table", "g000.0", "base", verdicts)
        with opened(stopping, PlainProgress()) as opened_run:
            opened_run.commit(Unit(0, 0, "judges", 99), events=[lost])
            [reason] = closing.end_reasons(opened_run, 0, 0)
            assert "judge table prefers base" in reason
            assert closing.ends_early(opened_run, 0, 0)
        with opened(settings, PlainProgress()) as opened_run:
            assert not closing.end_reasons(opened_run, 0, 0)

    assert harnesses.in_child(require_stop, path=path) == 0, harnesses.log(path)


def test_the_benchmark_of_monitors_compares_each_with_the_oracle(run: Path) -> None:
    seed = monitors.measure(run, 0)
    assert set(seed["oracle"]) == {"base", "g000.0"}
    people = seed["monitors"][monitors.PEOPLE]["says"]
    assert people["base"] == 0.5 and 0 <= people["g000.0"] <= 1
    assert {f"pixels: {name}" for name in pixels.METRICS} <= set(seed["monitors"])
    assert seed["monitors"]["judge:twin"]["num_versions"] == 2
    assert {"frozen", "motion fell", "judge:twin prefers the base"} <= set(seed["alarms"])
    totals = [
        event.measurements[0].value for event in _measured(run, measured.WORLD_SUITE).values()
    ]
    assert [*seed["monitors"]["world suite: total"]["says"]] == ["base", "g000.0"] and totals
    assert "judge:twin" in monitors.table({"seeds": {"0": seed}})


def test_an_alarm_is_false_where_the_oracle_shows_the_version_to_be_better() -> None:
    shown = {("base", "g000.0"), ("g001.0", "base")}
    alarm: dict[str, set[str]] = {"raised": set(), "false": set()}
    for version in ("g000.0", "g001.0"):
        monitors.note(alarm, version, "base", shown)
    assert alarm == {"raised": {"g000.0", "g001.0"}, "false": {"g000.0"}}


def test_no_vote_of_a_judge_is_among_those_that_training_reads(run: Path) -> None:
    with harnesses.ledger_of(run) as ledger:
        critics = {cast.critic_version for cast in ledger.all_votes()}
    assert critics == {"warm"}


PLACES = {"base": "base/attempt-0", "g000.0": "000/attempt-0"}


def _test_clips(run: Path, place: str) -> list[Candidate]:
    return tables.read_records(run / "rounds" / place / "test.parquet", record_type=Candidate)
