"""A generator that is trained to freeze sets off the alarm of motion in its first round."""

from pathlib import Path

import numpy as np
import pytest

from dualipo.cli import main as command_line
from dualipo.evaluation import pixels, run_history
from dualipo.evaluation.measured import named
from dualipo.evaluation.report import did_it_help
from dualipo.events import MeasuredEvent
from dualipo.store.clips import encode_clip
from dualipo.store.run_reader import RunReader
from dualipo.world import corpus

NUM_PAIRS, NUM_PROMPTS, NUM_FRAMES, FPS = 24, 12, 9, 8.0
SETTINGS = (
    *("align.max_train_steps=10", "align.train_batch_size=4", "align.num_slots=1"),
    *("align.learning_rate=3e-4", "align.lr_warmup_steps=0", "align.num_holdout=0"),
    *("generator.num_inference_steps=4", "generator.guidance_scale=1"),
)


def _stiller_clips_win(folder: Path) -> None:
    """Write pairs of a clip and its first frame held still, which wins."""
    for side in ("winner", "loser"):
        (folder / side).mkdir(parents=True)
    for number in range(NUM_PAIRS):
        clip = corpus.real_clip(number, num_frames=NUM_FRAMES)
        held = np.repeat(clip.frames_FHW3[:1], NUM_FRAMES, axis=0)
        for side, frames in (("winner", held), ("loser", clip.frames_FHW3)):
            (folder / side / f"{number:02d}.mp4").write_bytes(encode_clip(frames, FPS))
        (folder / "winner" / f"{number:02d}.txt").write_text(clip.caption)


@pytest.mark.slow
def test_pairs_whose_winner_is_the_stiller_clip_set_off_the_alarm_of_motion(
    tmp_path: Path,
) -> None:
    _stiller_clips_win(tmp_path / "pairs")
    prompts = [corpus.caption(1000 + n) for n in range(NUM_PROMPTS)]
    asked = [word for prompt in prompts for word in ("--validation-prompt", prompt)]
    output = str(tmp_path / "frozen")
    command = ["tune", str(tmp_path / "pairs"), *SETTINGS, *asked, "--output", output]
    assert command_line.main([*command, "--source", "simulated"]) == 0
    run = RunReader(tmp_path / "frozen")
    base, frozen = (event for _, event in run.events(MeasuredEvent))
    assert base.alarms == [] and frozen.version == "g000.0"
    change = named(frozen.measurements, pixels.DYNAMICS, against="base")
    assert change and change.high is not None and change.high < 0, frozen.measurements
    assert any(alarm.startswith("motion fell: dynamic degree") for alarm in frozen.alarms)
    told = did_it_help.answer(run_history.read(run))
    assert "Motion fell" in told.sentence and "Alarm: motion fell" in told.text
