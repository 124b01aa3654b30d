"""A tracker gets every figure once; what breaks it does not reach the run."""

import io
import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from dualipo import tracking
from dualipo.errors import ConfigError
from dualipo.evaluation.share import trackers
from tests.evaluation.conftest import RunMaker

# Stands in for the service's own package, which is not ours: it fails, hangs or keeps a list.
PACKAGE = """
import json, os, pathlib, time
place = pathlib.Path(__file__).parent
def init(**given):
    (place / "new").write_text(str(os.getpid()))
    (place / "new").rename(place / "pid")
    mode = (place / "mode").read_text()
    if mode == "offline":
        raise OSError("no route to host")
    if mode == "hangs":
        time.sleep(600)
    (place / "given").write_text(json.dumps(given))
    return Run()
def Video(path, caption, format):
    return [caption, os.path.getsize(path) > 0]
class Run:
    def define_metric(self, name, step_metric): pass
    def log(self, figures):
        with open(place / "logged", "a") as stream:
            stream.write(json.dumps(figures) + "\\n")
    def finish(self): pass
"""


@pytest.fixture
def service(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
    """Return `service(mode)`, which makes a package `wandb` that behaves so, also in children."""
    folder = tmp_path / "packages"
    folder.mkdir()
    (folder / "wandb.py").write_text(PACKAGE)
    monkeypatch.syspath_prepend(folder)
    path = os.pathsep.join([str(folder), str(Path.cwd()), os.environ.get("PYTHONPATH", "")])
    monkeypatch.setenv("PYTHONPATH", path)

    def behave(mode: str) -> Path:
        (folder / "mode").write_text(mode)
        return folder

    return behave


def test_tensorboard_has_every_figure_once(make_run: RunMaker, tmp_path: Path) -> None:
    run, folder = make_run(num_rounds=2), tmp_path / "events"

    def send() -> int:
        return trackers.follow(run, to="tensorboard", folder=folder, is_over=lambda: True)

    assert (send(), send()) == (80, 0)
    with tracking.Metrics(run / "metrics.jsonl") as metrics:
        metrics.log(40, round=1, attempt=1, stage="align", loss=0.25, said="no number")
    assert send() == 1
    sent = figures(folder)
    rows = tracking.read_metrics(run / "metrics.jsonl")
    for where, tag in (((0, 0), "align/round 0"), ((1, 1), "align/round 1 after refresh")):
        own = [row for row in rows if (row["round"], row["attempt"]) == where]
        assert [step for step, _ in sent[f"{tag}/loss"]] == [row["step"] for row in own]
        losses = [value for _, value in sent[f"{tag}/loss"]]
        assert losses == pytest.approx([row["loss"] for row in own])
    assert [value for _, value in sent["rounds/total"]] == pytest.approx(
        [0.4949, 0.5322, 0.5837], abs=2e-3
    )
    assert not [tag for tag in sent if "said" in tag]


def test_tensorboard_shows_the_clips_of_every_round_once(
    make_run: RunMaker, tmp_path: Path
) -> None:
    run, folder = make_run(num_rounds=2), tmp_path / "events"
    for _ in range(2):
        trackers.follow(run, to="tensorboard", folder=folder, is_over=lambda: True)
    shown: dict[str, list[int]] = {}
    for event in events(folder):
        for value in event.summary.value:
            if value.tag.startswith("clips/"):
                shown.setdefault(value.tag, []).append(event.step)
                with Image.open(io.BytesIO(value.tensor.string_val[2])) as image:
                    assert image.format == "GIF" and getattr(image, "n_frames", 1) > 1
    assert shown == {"clips/0": [0, 1, 2], "clips/1": [0, 1, 2]}


def events(folder: Path) -> Iterator[Any]:
    from tensorboard.backend.event_processing.event_file_loader import EventFileLoader

    for path in sorted(folder.iterdir()):
        yield from EventFileLoader(str(path)).Load()


def figures(folder: Path) -> dict[str, list[tuple[int, float]]]:
    steps: dict[str, list[tuple[int, float]]] = {}
    for event in events(folder):
        for value in event.summary.value:
            for number in value.tensor.float_val:  # a clip has none
                steps.setdefault(value.tag, []).append((event.step, number))
    return steps


def in_a_run(run: Path, *, begun: Path | None = None) -> list[str]:
    """Log beside a tracker as a run does until it has `begun`; return what was said."""
    said: list[str] = []
    with (
        trackers.send_in_background(run, to="wandb", folder=None, say=said.append),
        tracking.Metrics(run / "metrics.jsonl") as metrics,
    ):
        metrics.log(40, round=0, attempt=0, stage="align", loss=0.5)
        while begun and not begun.exists():
            time.sleep(0.05)
    return said


@pytest.mark.slow
def test_fault_61_a_tracker_that_is_offline_or_hangs_does_not_reach_the_run(
    make_run: RunMaker, service: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make_run(num_rounds=1)
    package = service("offline")
    said = in_a_run(run)
    assert len(said) == 1 and said[0].startswith("wandb failed (see ")
    assert said[0].endswith(f"Send its metrics later: dualipo track {run} --to wandb")
    assert "no route to host" in (run / "logs" / "report-wandb.log").read_text()
    service("hangs")
    (package / "pid").unlink()
    with monkeypatch.context() as patch:
        patch.setattr(trackers, "PATIENCE", 0.2)
        said = in_a_run(run, begun=package / "pid")
    assert said == ["wandb is still sending, and goes on by itself."]
    os.kill(int((package / "pid").read_text()), signal.SIGKILL)
    rows = tracking.read_metrics(run / "metrics.jsonl")
    assert len(rows) == 41, "the curves are whole without it"
    service("works")
    assert in_a_run(run) == []
    logged = [json.loads(line) for line in (package / "logged").read_text().splitlines()]
    losses = [row["align/round 0/loss"] for row in logged if "align/round 0/loss" in row]
    assert losses[:40] == [row["loss"] for row in rows[:40]], "sent later, all of it"
    assert json.loads((package / "given").read_text())["resume"] == "allow"


def test_a_tracker_that_is_not_installed_is_refused_before_any_work(
    make_run: RunMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_package(name: str) -> Any:
        return None

    monkeypatch.setattr("importlib.util.find_spec", no_package)
    with (
        pytest.raises(ConfigError, match=r"not installed\. `pip install trackio`"),
        trackers.send_in_background(make_run(num_rounds=0), to="trackio", folder=None, say=print),
    ):
        raise AssertionError("begun")
