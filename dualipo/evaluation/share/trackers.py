"""Experiment trackers: TensorBoard, Weights & Biases or trackio, by the recipe's `report_to`.

A process of its own reads `metrics.jsonl` and the table of rounds and sends them to the tracker, so
neither a fault there nor a lost network can stop or slow a training (fault 61). `logs/
sent-TRACKER.json` records what was sent: `dualipo track` sends the rest later, and a resumed run
continues its own curves. Keys for services come from the environment alone.

The clips of the report's gallery go with them, a step for the base and for each round: as animated
images to TensorBoard, which shows no video, and as video to the others.
"""

import importlib.util
import io
import math
import os
import secrets
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from PIL import Image

from dualipo import tracking
from dualipo.errors import ConfigError
from dualipo.evaluation import summary
from dualipo.evaluation.report import browser_clips
from dualipo.events import GalleryEvent
from dualipo.store import atomic
from dualipo.store.run_reader import RunReader
from dualipo.store.video import Frames

TRACKERS = ("tensorboard", "wandb", "trackio")
LOOK_EVERY = 2.0  # seconds between two looks at the metrics
PATIENCE = 10.0  # seconds that a finished run waits for its tracker
PROJECT = "dualipo"

_WHERE = ("step", "round", "attempt", "stage")
_ROUND_FIGURES = ("total", "consistency", "faithfulness", "motion", "held-out", "vote share")


@dataclass(frozen=True)
class Place:
    """A run as a tracker names it, and the folder that the tracker may write to."""

    name: str
    run_id: str
    folder: Path
    config: Mapping[str, Any]


@dataclass(frozen=True)
class Clip:
    """A clip for people: its caption, its frames, and the same as a video for any browser."""

    caption: str
    frames_FHWC: Frames
    fps: float
    mp4: bytes


class Tracker(Protocol):
    """A tracker takes the figures of one step; figures of one group share their steps."""

    def log(self, group: str, step: int, figures: Mapping[str, float]) -> None:
        """Add the figures of a step."""
        ...

    def show(self, name: str, step: int, clip: Clip) -> None:
        """Add a clip of a step."""
        ...

    def close(self) -> None:
        """Write or send what is left."""
        ...


class TensorBoard:
    """TensorBoard's event files, written without torch."""

    def __init__(self, place: Place) -> None:
        from tensorboard.summary.writer.event_file_writer import EventFileWriter

        self._writer = EventFileWriter(str(place.folder))

    def log(self, group: str, step: int, figures: Mapping[str, float]) -> None:
        """Add the figures of a step."""
        from tensorboard.compat.proto.event_pb2 import Event
        from tensorboard.compat.proto.summary_pb2 import Summary

        values = [Summary.Value(tag=f"{group}/{key}", simple_value=x) for key, x in figures.items()]
        self._writer.add_event(
            Event(wall_time=time.time(), step=step, summary=Summary(value=values))
        )
        self._writer.flush()  # figures that count as sent are on disk

    def show(self, name: str, step: int, clip: Clip) -> None:
        """Add a clip as an animated image."""
        from tensorboard.compat.proto.event_pb2 import Event
        from tensorboard.compat.proto.summary_pb2 import Summary

        _, height, width, _ = clip.frames_FHWC.shape
        image = Summary.Image(
            height=height, width=width, colorspace=3, encoded_image_string=_gif(clip)
        )
        summary = Summary(value=[Summary.Value(tag=name, image=image)])
        self._writer.add_event(Event(wall_time=time.time(), step=step, summary=summary))
        self._writer.flush()

    def close(self) -> None:
        """Write what is left."""
        self._writer.close()


class Wandb:
    """A run of Weights & Biases; every group has a step axis of its own."""

    def __init__(self, place: Place) -> None:
        import wandb

        self._groups: set[str] = set()
        self._run = wandb.init(
            project=os.environ.get("WANDB_PROJECT", PROJECT),
            name=place.name,
            id=place.run_id,
            resume="allow",
            dir=str(place.folder),
            config=dict(place.config),
        )

    def log(self, group: str, step: int, figures: Mapping[str, float]) -> None:
        """Add the figures of a step."""
        axis = f"{group}/step"
        if group not in self._groups:
            self._groups.add(group)
            self._run.define_metric(f"{group}/*", step_metric=axis)
        self._run.log({f"{group}/{key}": x for key, x in figures.items()} | {axis: step})

    def show(self, name: str, step: int, clip: Clip) -> None:
        """Add a clip as a video."""
        import wandb

        with _as_file(clip) as path:
            video = wandb.Video(str(path), caption=clip.caption, format="mp4")
            self._run.log({name: video, "clips/step": step})

    def close(self) -> None:
        """Send what is left."""
        self._run.finish()


class Trackio:
    """A run of trackio, which keeps its files where TRACKIO_DIR says."""

    def __init__(self, place: Place) -> None:
        import trackio

        self._run = trackio.init(
            project=os.environ.get("TRACKIO_PROJECT", PROJECT),
            name=f"{place.name}-{place.run_id}",
            resume="allow",
            config=dict(place.config),
            embed=False,
        )

    def log(self, group: str, step: int, figures: Mapping[str, float]) -> None:
        """Add the figures of a step."""
        self._run.log({f"{group}/{key}": x for key, x in figures.items()}, step=step)

    def show(self, name: str, step: int, clip: Clip) -> None:
        """Add a clip as a video."""
        import trackio

        with _as_file(clip) as path:
            self._run.log({name: trackio.Video(str(path), caption=clip.caption)}, step=step)

    def close(self) -> None:
        """Send what is left."""
        self._run.finish()


_OPEN: dict[str, Callable[[Place], Tracker]] = {
    "tensorboard": TensorBoard,
    "wandb": Wandb,
    "trackio": Trackio,
}


def require(to: str) -> None:
    """Refuse a tracker whose package is missing, before any work is done."""
    if importlib.util.find_spec(to) is None:
        raise ConfigError(
            f'report_to = "{to}": its package is not installed. `pip install {to}`, or set '
            'report_to = "none": metrics.jsonl is written in any case.'
        )


@contextmanager
def send_in_background(
    run_path: Path, *, to: str, folder: str | None, say: Callable[[str], None]
) -> Iterator[None]:
    """Send a run's metrics to the tracker `to`, from a process of its own, while the block runs."""
    if to == "none":
        yield
        return
    require(to)
    where = ["--logging-dir", folder] if folder else []
    command = [sys.executable, "-m", "dualipo.cli.main", "track", str(run_path), "--to", to]
    # The pipe closes however this process ends; the child then sends the rest and ends too.
    with open(run_path / "logs" / f"report-{to}.log", "ab") as log:
        child = subprocess.Popen(
            [*command, *where, "--follow"],
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
            start_new_session=True,
            env={name: value for name, value in os.environ.items() if name != "DUALIPO_FAIL"},
        )
    try:
        yield
    finally:
        _let_go(child, to, run_path, say)


def _let_go(
    child: "subprocess.Popen[bytes]", to: str, run_path: Path, say: Callable[[str], None]
) -> None:
    assert child.stdin is not None
    child.stdin.close()
    try:
        code = child.wait(timeout=PATIENCE)
    except subprocess.TimeoutExpired:
        say(f"{to} is still sending, and goes on by itself.")
        return
    if code:
        say(
            f"{to} failed (see {run_path / 'logs' / f'report-{to}.log'}); the run is not affected. "
            f"Send its metrics later: dualipo track {run_path} --to {to}"
        )


def follow(run_path: Path, *, to: str, folder: Path | None, is_over: Callable[[], bool]) -> int:
    """Send what was not sent yet, and what is recorded until `is_over`; return how many lines."""
    require(to)
    sent_path = run_path / "logs" / f"sent-{to}.json"
    sent = _read_sent(sent_path)
    folder = folder or run_path / to
    atomic.make_folder(folder)
    run = RunReader(run_path)
    tracker = _OPEN[to](Place(run.name, sent["run_id"], folder, run.settings))
    num_lines = 0
    try:
        while True:
            is_last = is_over()
            num_lines += _send_lines(tracker, run_path, sent)
            _send_rounds(tracker, run_path, sent)
            _send_clips(tracker, run, sent)
            atomic.write_json(sent_path, sent)
            if is_last:
                return num_lines
            time.sleep(LOOK_EVERY)
    finally:
        tracker.close()


def _read_sent(path: Path) -> dict[str, Any]:
    if path.is_file():
        sent = atomic.read_json(path)
        return {"clips": 0} | sent  # an older program sent no clips
    return {"run_id": secrets.token_hex(4), "offset": 0, "rounds": {}, "clips": 0}


def _send_lines(tracker: Tracker, run_path: Path, sent: dict[str, Any]) -> int:
    rows, sent["offset"] = tracking.read_new(run_path / "metrics.jsonl", sent["offset"])
    for row in rows:
        figures = {key: x for key, x in row.items() if key not in _WHERE and _is_number(x)}
        tracker.log(_group(row), int(row["step"]), figures)
    return len(rows)


def _group(row: Mapping[str, Any]) -> str:
    """Return the group of a line, for example `align/round 0`: the stage makes one section.

    What is measured once a round is one curve over the rounds.
    """
    if row.get("stage") == tracking.OF_ROUNDS:
        return "signals"
    round, attempt = row.get("round", -1), row.get("attempt") or 0
    where = "start" if round < 0 else f"round {round}" + (" after refresh" if attempt else "")
    return f"{row.get('stage', 'run')}/{where}"


def _send_rounds(tracker: Tracker, run_path: Path, sent: dict[str, Any]) -> None:
    """Send the table of rounds, base as step 0; send a row again when it has more figures."""
    for at, row in enumerate(summary.as_dict(run_path)["rounds"]):
        figures = {key: row[key] for key in _ROUND_FIGURES if _is_number(row[key])}
        figures |= row["measured"]
        if row["of"]:
            figures["kept share"] = row["kept"] / row["of"]
        if figures and sent["rounds"].get(row["round"]) != figures:
            tracker.log("rounds", at, figures)
            sent["rounds"][row["round"]] = figures


def _send_clips(tracker: Tracker, run: RunReader, sent: dict[str, Any]) -> None:
    """Send the galleries that were not sent yet, base as step 0; a clip that is damaged is not."""
    if not run.has_ledger:
        return
    galleries = {unit.round: gallery for unit, gallery in run.events(GalleryEvent)}
    for step, (_, gallery) in list(enumerate(sorted(galleries.items())))[sent["clips"] :]:
        for number, (caption, clip_hash) in enumerate(
            zip(gallery.captions, gallery.clips, strict=True)
        ):
            mp4 = browser_clips.browser_mp4(run.clip_store, clip_hash)
            if mp4 is not None:
                frames_FHWC, fps = run.read_clip(clip_hash), run.settings["generator.fps"]
                tracker.show(f"clips/{number}", step, Clip(caption, frames_FHWC, fps, mp4))
        sent["clips"] = step + 1


def _gif(clip: Clip) -> bytes:
    """Encode a clip as an animated GIF."""
    images = [Image.fromarray(frame_HWC) for frame_HWC in clip.frames_FHWC]
    stream = io.BytesIO()
    images[0].save(
        stream,
        format="GIF",
        save_all=True,
        append_images=images[1:],
        duration=round(1000 / clip.fps),
        loop=0,
    )
    return stream.getvalue()


@contextmanager
def _as_file(clip: Clip) -> Iterator[Path]:
    """Write a clip's video for a service that takes files."""
    with tempfile.TemporaryDirectory(prefix="dualipo-") as folder:
        path = Path(folder) / "clip.mp4"
        path.write_bytes(clip.mp4)
        yield path


def _is_number(value: Any) -> bool:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return is_number and math.isfinite(value)
