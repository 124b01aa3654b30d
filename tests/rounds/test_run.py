"""An open run keeps decoded clips up to a number of bytes."""

from pathlib import Path

import numpy as np

from dualipo.config import Config
from dualipo.progress import PlainProgress
from dualipo.rounds.run import Run
from dualipo.store.rundir import RunDir


def test_fault_70_decoded_clips_are_kept_up_to_a_number_of_bytes(tmp_path: Path) -> None:
    critic = {"decoded_clips_mb": 1}
    settings = Config.model_validate({"output_dir": str(tmp_path / "run"), "critic": critic})
    run = Run(RunDir.open(tmp_path / "run", settings), settings, PlainProgress())
    shape = (4, 256, 256, 3)  # 0.75 MiB: the second displaces the first
    hashes = [run.clip_store.put(np.full(shape, shade, np.uint8), 8) for shade in (60, 200)]
    seen = [run.clip(clip) for clip in (*hashes, *hashes)]
    assert run._clips.num_bytes == seen[0].nbytes <= 1 << 20
    assert np.array_equal(seen[0], seen[2]) and seen[0] is not seen[2]
    assert run.clip(hashes[1]) is seen[3]
    run.close()
