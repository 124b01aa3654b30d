"""A tiny run of the store alone, killed at every failpoint and resumed (FAULTS.md, harness)."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from dualipo import failpoints
from dualipo.config import Config
from dualipo.records import Prompt
from dualipo.store import tables
from dualipo.store.clips import ClipStore
from dualipo.store.ledger import Unit
from dualipo.store.rundir import RunDir

FRAMES_FHWC = np.zeros((2, 16, 16, 3), np.uint8)


def tiny_run(path: Path) -> None:
    run = RunDir.open(path, Config())
    run.sweep()
    for index in range(2):
        unit = Unit(0, 0, "sample", index)
        if run.ledger.is_done(unit):
            continue
        clips, table = ClipStore(run.clips_path), run.round_path(0) / f"prompts-{index}.parquet"
        clip = clips.put(FRAMES_FHWC + index, 8)
        rows = tables.write_records(table, [Prompt(f"p{index}", "a ball")], record_type=Prompt)
        files = {run.relative(clips.path(clip)): clip, run.relative(table): rows}
        run.ledger.commit_unit(unit, files=files)
    run.close()


def in_child(body: Callable[[], None], *, fail: str) -> int:
    child = os.fork()
    if child == 0:
        failpoints.arm(fail)
        try:
            body()
        finally:
            os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def state(path: Path) -> tuple[str, set[str]]:
    run = RunDir.open(path, Config())
    digest, swept = run.ledger.digest(), run.sweep()
    assert swept == []
    names = {run.relative(inner) for inner in path.glob("**/*.*") if inner.parent.name != "logs"}
    run.close()
    return digest, names


@pytest.mark.slow
def test_fault_03_and_09_killed_at_every_point_and_again_while_resuming(tmp_path: Path) -> None:
    names = tmp_path / "names"
    assert in_child(lambda: tiny_run(tmp_path / "clean"), fail=f"count@{names}") == 0
    num_hits = len(names.read_text().split())
    assert num_hits > 15
    clean = state(tmp_path / "clean")
    for hit in range(1, num_hits + 1):
        path = tmp_path / f"{hit}"
        assert in_child(lambda path=path: tiny_run(path), fail=f"kill@{hit}") == -signal.SIGKILL
        in_child(lambda path=path: tiny_run(path), fail=f"kill@{1 + hit % 7}")
        tiny_run(path)
        assert state(path) == clean, names.read_text().split()[hit - 1]


def test_the_store_is_read_without_torch() -> None:
    modules = "atomic clips ledger lock rundir schema tables"
    imports = ", ".join(f"dualipo.store.{module}" for module in modules.split())
    program = f"import sys, {imports}; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", program], check=True)
