"""A round leaves nothing behind in its process: no open file, and no memory that adds up."""

import gc
import json
import os
from pathlib import Path

import pytest

from dualipo.progress import PlainProgress
from dualipo.rounds import loop
from tests.rounds import harness as harnesses
from tests.rounds.harness import Harness

NUM_ROUNDS = 10  # more take as many seconds and show the same
SMALL = (
    f"rounds={NUM_ROUNDS}",
    "refresh.force_rounds=[]",
    "prompts.num_prompts=4",
    "align.max_train_steps=1",
    "monitor.num_audit_labels=0",
    "align.real_nll_ratio=0",
    # The best and the worst clip of each prompt: a critic that knows nothing confirms few pairs.
    "align.loss_type=kto",
    "align.kto_labels=extremes",
)
MB_A_ROUND = 3.0  # what the allocator's own growth may be; a kept clip or model is more


class Watching(PlainProgress):
    """Notes the process' open files and memory whenever a round begins to sample."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[int, float]] = []

    def stage(self, name: str, *, round: int, attempt: int, total: int) -> None:
        super().stage(name, round=round, attempt=attempt, total=total)
        if round >= 0 and name.startswith("sample.candidates"):
            gc.collect()  # what waits for the collector, of the parent too, is no leak
            pages = int(Path("/proc/self/statm").read_text().split()[1])
            num_open = len(os.listdir("/proc/self/fd"))
            self.seen.append((num_open, pages * os.sysconf("SC_PAGE_SIZE") / 2**20))


@pytest.mark.slow
def test_fault_63_rounds_leave_neither_descriptors_nor_memory_behind(harness: Harness) -> None:
    with harnesses.elsewhere(harness) as path:
        settings = harness.recipe(path, *SMALL)
        report = path.parent / "seen.json"

        def body() -> None:
            progress = Watching()
            loop.run(settings, progress=progress)
            report.write_text(json.dumps(progress.seen))

        assert harnesses.in_child(body, path=path) == 0, harnesses.log(path)
        seen = json.loads(report.read_text())
    assert len(seen) == NUM_ROUNDS
    num_open, megabytes = zip(*seen, strict=True)
    assert max(num_open[2:]) == num_open[2], num_open
    settled = megabytes[NUM_ROUNDS // 2 :]
    assert (settled[-1] - settled[0]) / (len(settled) - 1) < MB_A_ROUND, megabytes
