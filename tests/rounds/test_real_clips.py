"""An alignment beside real clips from a disk: killed between shards, and with bad clips."""

import json
import shutil
import signal
from pathlib import Path

import pytest

from dualipo.config import Config
from dualipo.events import AlignEvent, EncodeRealDrawnEvent, EncodeRealEvent
from dualipo.progress import PlainProgress
from dualipo.rounds import real_clips
from dualipo.rounds.loop import opened
from dualipo.store import tensors
from tests.generator.test_footage import camera_clip, folder_of
from tests.rounds import harness as harnesses
from tests.rounds import same_process

NUM_CLIPS = real_clips.SHARD_CLIPS + 2


@pytest.fixture
def clip(memory: Path) -> Path:
    path = memory / "camera.mp4"
    camera_clip(path, num_frames=30, fps=24, size=(48, 80))
    return path


def encode(settings: Config, *, fail: str = "") -> int:
    """Encode the real clips alone, in a child; return its exit code."""

    def body() -> None:
        with opened(settings, PlainProgress()) as run:
            assert len(real_clips.encoded(run).texts) == NUM_CLIPS

    return harnesses.in_child(body, path=Path(settings.output_dir), fail=fail)


def captions(path: Path, shard: str) -> list[str]:
    header = tensors.read_metadata(path / "latents" / "real" / f"{shard}.safetensors")
    return list(json.loads(header["captions"]))


def test_fault_66_killed_between_shards_nothing_is_read_twice(
    models_folder: Path, memory: Path, clip: Path
) -> None:
    folder = folder_of(memory / "footage", clip, NUM_CLIPS + 4, num_bad=3)
    wanted = (f"align.dataset_name={folder}", f"align.num_real_clips={NUM_CLIPS}")
    clean, path = memory / "encoded" / "clean", memory / "encoded" / "killed"
    names = memory / "encoded-names"
    assert encode(harnesses.recipe(models_folder, clean, *wanted), fail=f"count@{names}") == 0
    hits = names.read_text().split()
    settings = harnesses.recipe(models_folder, path, *wanted)
    hit = 1 + hits.index("ledger.after_commit")
    assert hits[hit - 4] == "clips-0000.safetensors.before_rename"
    assert encode(settings, fail=f"kill@{hit}") == -signal.SIGKILL
    [first] = harnesses.events(path, EncodeRealDrawnEvent)
    assert first.skipped and len(first.used) == real_clips.SHARD_CLIPS
    assert captions(path, "clips-0000") == [f"clip {n}" for n in first.used]
    for place in first.used:
        (folder / f"{place}.mp4").unlink()
    for place, _ in first.skipped:  # it was counted, and is not asked again
        shutil.copy(clip, folder / f"{place}.mp4")
    assert encode(settings, fail="kill@6") == -signal.SIGKILL
    assert captions(path, "clips-0001")  # published, without a row
    assert len(harnesses.events(path, EncodeRealDrawnEvent)) == 1
    assert encode(settings) == 0, harnesses.log(path)
    assert harnesses.state(path) == harnesses.state(clean)
    assert harnesses.events(path, EncodeRealEvent) == [
        EncodeRealEvent(num=NUM_CLIPS, num_skipped=3)
    ]


def test_workers_encode_the_shards_that_one_process_does(
    models_folder: Path, memory: Path, clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Clips that cannot be read shift all later shards, whoever finds them."""
    folder = folder_of(memory / "spread-footage", clip, NUM_CLIPS + 4, num_bad=3)
    wanted = (f"align.dataset_name={folder}", f"align.num_real_clips={NUM_CLIPS}")
    inline, path = memory / "spread" / "inline", memory / "spread" / "workers"
    assert encode(harnesses.recipe(models_folder, inline, *wanted)) == 0, harnesses.log(inline)
    same_process.use(monkeypatch)
    by_workers = harnesses.recipe(models_folder, path, *wanted, same_process.BY_WORKERS)
    assert encode(by_workers) == 0, harnesses.log(path)
    assert harnesses.state(path) == harnesses.state(inline)


def test_fault_66_a_run_skips_a_bad_clip_and_stops_at_many(
    models_folder: Path, memory: Path, clip: Path
) -> None:
    folder = folder_of(memory / "some-bad", clip, 22, num_bad=2)
    path = memory / "with-footage" / "run"
    settings = harnesses.recipe(
        models_folder,
        path,
        "rounds=1",
        "refresh.force_rounds=[]",
        "align.loss_type=kto",
        "align.kto_labels=extremes",
        "align.num_real_clips=20",
        f"align.dataset_name={folder}",
    )
    assert harnesses.ended(settings) == 1
    assert "DataError: real clips: 2 could not be used, more than 5%" in harnesses.log(path)
    assert harnesses.events(path, EncodeRealDrawnEvent) == []
    shutil.copy(clip, folder / "0.mp4")
    assert harnesses.ended(settings) == 0, harnesses.log(path)
    assert "1 real clips skipped: " in harnesses.log(path)
    assert harnesses.events(path, EncodeRealEvent) == [EncodeRealEvent(num=20, num_skipped=1)]
    used = captions(path, "clips-0000")
    assert len(set(used)) == 20 and "clip 1" not in used
    assert captions(path, "texts-0000") == used
    assert len(harnesses.events(path, AlignEvent)) == 1
