"""Clocks of units add up to what a run took by stage, round and device, none twice."""

import json
from pathlib import Path

import pytest

from dualipo import config
from dualipo.cli import main
from dualipo.evaluation import costs
from dualipo.events import ClockEvent, SampleEvent
from dualipo.store.ledger import Unit
from dualipo.store.rundir import RunDir


def clock(stage: str, seconds: float, device: str | None = None) -> ClockEvent:
    return ClockEvent(stage=stage, seconds=seconds, peak_mb=1.0, device=device)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """Make a run whose two workers sampled, and whose alignment held two of four devices."""
    opened = RunDir.open(
        tmp_path / "run", config.resolve({"align": {"num_processes": 4}}, subject="test")
    )
    commit = opened.ledger.commit_unit
    commit(Unit(-1, 0, "warm_start_sft"), events=[clock("warm_start_sft", 60.0)])
    for index, device in enumerate(("cuda:0", "cuda:1")):
        unit = Unit(0, 0, "sample.candidates", index)
        commit(unit, events=[clock("sample.candidates", 1800.0, device)])
    sampled = SampleEvent(num_clips=80, num_rejected=0, num_resampled=0, num_prompts_dropped=0)
    # It closes the stage: the same time, as the driver saw it.
    commit(
        Unit(0, 0, "sample.candidates", -1), events=[clock("sample.candidates", 1800.0), sampled]
    )
    commit(Unit(0, 0, "score", 0), events=[clock("score", 2.0, "cuda:0")])
    held = ClockEvent(stage="align", seconds=900.0, peak_mb=1.0, num_devices=2)
    commit(Unit(0, 0, "align"), events=[held])
    opened.close()
    return tmp_path / "run"


def test_every_second_of_a_device_counts_once(run: Path) -> None:
    spent = costs.read(run)
    assert {(each.stage, each.device): each.seconds for each in spent.spent} == {
        ("warm_start_sft", ""): 60.0,
        ("sample.candidates", "cuda:0"): 1800.0,
        ("sample.candidates", "cuda:1"): 1800.0,
        ("score", "cuda:0"): 2.0,
        ("align", ""): 1800.0,
    }
    assert spent.seconds == 60.0 + 3600.0 + 2.0 + 1800.0


def test_the_command_prints_shares_rates_and_a_price(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main.main(["cost", str(run), "--price", "3600"]) == 0
    said = capsys.readouterr().out
    assert "At 3600 a device-hour: 5462.00." in said
    assert "80 clips an hour on one device" in said
    assert "30.0 min on cuda:1" in said and "the rest is the driver's" in said
    [clips] = [line for line in said.splitlines() if line.startswith("clips")]
    assert clips.split() == ["clips", "—", "60.0", "min", "65.9", "%"]
    assert main.main(["cost", str(run), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["device_seconds"] == 5462.0 and told["price"] is None
    assert main.main(["cost", str(run), "--price", "nan"]) == 2
