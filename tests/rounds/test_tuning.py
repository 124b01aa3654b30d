"""A tuning on preferences of every kind, with both backbones and losses, and killed anywhere."""

import csv
import json
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dualipo.cli import main as command_line
from dualipo.events import AlignEvent, GalleryEvent, PreferEvent
from dualipo.store import tensors
from dualipo.store.clips import encode_clip
from dualipo.store.run_reader import RunReader
from tests.generator.conftest import make_cogvideox, make_pipeline
from tests.rounds import harness as harnesses
from tests.rounds.harness import Harness, State, in_child, state

pytestmark = pytest.mark.slow

NUM_PAIRS = 12
CAPTIONS = ("a red ball rolls", "a blue cube jumps", "a ball", "a cube", "red", "blue")
SETTINGS = (
    *("align.max_train_steps=4", "align.train_batch_size=4", "align.num_slots=1", "align.rank=2"),
    *("align.lr_warmup_steps=0", "align.checkpointing_steps=2", "align.holdout_every=2"),
    *("align.num_holdout=2", "align.learning_rate=0.01", "generator.max_sequence_length=8"),
    *("generator.num_inference_steps=2", "generator.sample_batch_size=2"),
)
VALIDATION = ("--validation-prompt", "a red cube", "--validation-prompt", "a ball jumps")


@pytest.fixture(scope="module")
def generators(memory: Path) -> dict[str, Path]:
    make_pipeline().save_pretrained(memory / "tuning-wan")
    make_cogvideox(rotary=True).save_pretrained(memory / "tuning-cogvideox")
    return {name: memory / f"tuning-{name}" for name in ("wan", "cogvideox")}


@pytest.fixture(scope="module")
def preferences(memory: Path) -> dict[str, Path]:
    """Write the same pairs, of bright winners and dark losers, in three layouts."""
    folder = memory / "tuning-data"
    draws = np.random.default_rng(0)
    pairs = []
    for number in range(NUM_PAIRS):
        name, caption = f"{number:02d}", CAPTIONS[number % len(CAPTIONS)]
        for side, low in (("winner", 170), ("loser", 0)):
            path = folder / side / f"{name}.mp4"
            path.parent.mkdir(parents=True, exist_ok=True)
            frames_FHWC = draws.integers(low, low + 80, (9, 32, 32, 3)).astype(np.uint8)
            path.write_bytes(encode_clip(frames_FHWC, 8.0))
        (folder / "winner" / f"{name}.txt").write_text(caption)
        pairs.append((caption, f"winner/{name}.mp4", f"loser/{name}.mp4"))
    with open(folder / "videoalign.csv", "w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["path_A", "path_B", "prompt", "VQ", "MQ", "TA"])
        for number, (caption, winner, loser) in enumerate(pairs):
            turned = number % 2
            verdict = "B" if turned else "A"
            sides = (loser, winner) if turned else (winner, loser)
            # A dimension that ties does not matter; the last pair's dimensions disagree.
            last = "BA"[turned] if number == NUM_PAIRS - 1 else "same"
            writer.writerow([*sides, caption, verdict, verdict, last])
    lines = [{"prompt": p, "chosen": w, "rejected": lo, "source": "human"} for p, w, lo in pairs]
    (folder / "trl").mkdir()
    table = folder / "trl" / "pairs.jsonl"
    table.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return {"videoalign": folder / "videoalign.csv", "winner-loser": folder, "trl": table}


def arguments_of(source: Path | str, generator: Path, output: Path, *changes: str) -> Sequence[str]:
    named = ["--generator", str(generator), "--output", str(output)]
    return ["tune", str(source), *named, *SETTINGS, *VALIDATION, *changes]


def tune(*given: Any) -> RunReader:
    arguments = arguments_of(*given)
    assert command_line.main(arguments) == 0
    return RunReader(Path(given[2]))


@pytest.mark.parametrize(
    ("source", "backbone", "loss_type"),
    [
        ("videoalign", "wan", "dpo"),
        ("trl", "cogvideox", "dpo"),
        ("winner-loser", "wan", "kto"),
        ("trl", "cogvideox", "kto"),
    ],
)
def test_preferences_of_any_kind_tune_any_backbone(
    preferences: dict[str, Path],
    generators: dict[str, Path],
    tmp_path: Path,
    source: str,
    backbone: str,
    loss_type: str,
) -> None:
    changes = [f"align.loss_type={loss_type}"]
    changes += ["--source", "human"] if source == "winner-loser" else []
    changes += ["--root", str(preferences["winner-loser"])] if source == "trl" else []
    run = tune(preferences[source], generators[backbone], tmp_path / "a", *changes)
    ((_, prefer),) = run.events(PreferEvent)
    num = NUM_PAIRS - (source == "videoalign")
    assert prefer.kept == (num if loss_type == "dpo" else 2 * num)
    assert prefer.dropped == ({"dimensions disagree": 1} if source == "videoalign" else {})
    ((_, aligned),) = run.events(AlignEvent)
    assert aligned.num_steps == 4 and aligned.holdout_accuracy is not None
    logged = [row["holdout_accuracy"] for row in run.metrics() if "holdout_accuracy" in row]
    assert len(logged) == 2 and logged[-1] == aligned.holdout_accuracy
    # Clips of the validation prompts from the same seed, by both generators.
    before, after = (gallery for _, gallery in run.events(GalleryEvent))
    assert before.captions == after.captions == ["a red cube", "a ball jumps"]
    assert not {*before.clips} & {*after.clips}
    seeds = [(row["caption"], row["seed"]) for row in run.clips().to_pylist()]
    assert len(seeds) == 4 and len(set(seeds)) == 2
    version = run.serving("generator")
    assert version is not None and version.version_id == "g000.0"
    lora = (run.path / version.path).parent / "pytorch_lora_weights.safetensors"
    assert any("lora_A" in name for name in tensors.load(lora))
    card = (run.path / "cards" / "g000.0.md").read_text()
    assert f"Diffusion-{loss_type.upper()}" in card and "by people" in card
    report = (run.path / "report.html").read_text()
    assert "a red cube" in report and "Agreement on held-out preferences" in report
    assert "Is the critic right?" not in report


def test_a_round_of_a_run_is_tuned_on_as_the_loop_took_it(
    harness: Harness, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    generator = harness.models_folder / "generator"
    settings = ("align.num_holdout=0", "generator.max_sequence_length=16")
    run = tune(f"{harness.path}#1", generator, tmp_path / "a", *settings)
    rows = RunReader(harness.path).preferences().to_pylist()
    own = [row for row in rows if row["round"] == 1]
    ((_, prefer),) = run.events(PreferEvent)
    assert prefer.kept == len(own) > 0
    assert run.events(AlignEvent)[0][1].critic_version == ""
    onto = arguments_of(f"{harness.path}#1", generator, harness.path, *settings)
    assert command_line.main(onto) == 2
    assert "this is a run and no tuning" in capsys.readouterr().err


def test_tunings_share_their_encodings_and_their_labels(
    preferences: dict[str, Path], generators: dict[str, Path], tmp_path: Path
) -> None:
    tune(preferences["videoalign"], generators["wan"], tmp_path / "a")
    encodings = [path for path in (tmp_path / "encodings").rglob("*") if path.is_file()]
    before = {path: path.stat().st_mtime_ns for path in encodings}
    assert {path.name.partition("-")[0] for path in before} >= {"clips", "texts", "reference"}
    run = tune(preferences["videoalign"], generators["wan"], tmp_path / "b", "align.beta_dpo=50")
    encodings = [path for path in (tmp_path / "encodings").rglob("*") if path.is_file()]
    assert {path: path.stat().st_mtime_ns for path in encodings} == before
    first, second = (RunReader(tmp_path / name).serving("generator") for name in "ab")
    assert first is not None and second is not None and first.sha256 != second.sha256
    # A file that somebody changed is refused with its remedy.
    path = next(path for path in before if path.name.startswith("clips-"))
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    arguments = arguments_of(preferences["videoalign"], generators["wan"], tmp_path / "c")
    assert command_line.main(arguments) != 0
    assert run.path.is_dir()


def test_fault_6_a_tuning_that_was_killed_anywhere_is_bit_equal(
    preferences: dict[str, Path], generators: dict[str, Path], memory: Path
) -> None:
    def outcome(name: str, fail: str = "") -> int:
        output = memory / f"tuning-{name}" / "tuned"
        arguments = arguments_of(preferences["videoalign"], generators["wan"], output)

        def body() -> None:
            assert command_line.main(arguments) == 0

        return in_child(body, path=output, fail=fail)

    def made(name: str) -> State:
        return state(memory / f"tuning-{name}" / "tuned")

    names = memory / "tuning-names"
    assert outcome("clean", fail=f"count@{names}") == 0
    hits = names.read_text().split()
    clean = made("clean")
    beginnings = ("labels.parquet", "clips-0000", "encodings.json", "reference-holdout")
    wanted = [*beginnings, "checkpoint.after_rename", "pytorch_lora_weights", "report.html"]
    points = [next(n for n, hit in enumerate(hits, 1) if hit.startswith(name)) for name in wanted]
    for point in points:
        name = f"killed-{point}"
        assert outcome(name, fail=f"kill@{point}") == -signal.SIGKILL
        assert outcome(name) == 0, harnesses.log(memory / f"tuning-{name}" / "tuned")
        assert made(name) == clean, hits[point - 1]


def test_what_cannot_be_tuned_on_is_refused_before_a_model_is_loaded(
    preferences: dict[str, Path],
    generators: dict[str, Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    csv_path, wan = preferences["videoalign"], generators["wan"]
    (tmp_path / "empty").mkdir()
    graded = tmp_path / "graded.csv"
    clips = sorted(preferences["winner-loser"].glob("winner/*.mp4"))
    graded.write_text(
        "caption,clip,mark\n" + "".join(f"c {clip.stem},{clip},bad\n" for clip in clips)
    )
    marks = ["--map", "caption=caption,video=clip,grade=mark", "--source", "human", "--root", "/"]
    kto = [*marks, "align.loss_type=kto"]
    split = tmp_path / "split.csv"
    rows = [f"winner/{clip.name},loser/{clip.name},x,A,B,same\n" for clip in clips]
    split.write_text("path_A,path_B,prompt,VQ,MQ,TA\n" + "".join(rows))
    at = ["--root", str(preferences["winner-loser"])]
    for source, changes, refusal in (
        (csv_path, ["critic.num_votes=3"], "a tuning has no critic and no rounds"),
        (tmp_path / "none.csv", [], "there is nothing"),
        (tmp_path / "empty", [], "nor a folder with winner/ and loser/"),
        (csv_path, ["align.patience=2", "align.num_holdout=0"], "align.num_holdout is 0"),
        (csv_path, ["generator.num_frames=81"], "22 of 22 clips cannot be used"),
        (csv_path, ["align.num_holdout=99"], "leaves nothing to train on"),
        (split, at, "(12 dimensions disagree). Learn from one dimension with --only"),
        (graded, kto, "0 desirable and 12 undesirable clips, where KTO needs both. A clip"),
    ):
        arguments = arguments_of(source, wan, tmp_path / "a", *changes)
        assert command_line.main(arguments) != 0
        assert refusal in capsys.readouterr().err
        assert not list(tmp_path.glob("encodings/*/clips-*")), "nothing was encoded"
