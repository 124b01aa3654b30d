"""A run's folder as SIGKILL leaves it at many points, from one run.

At each wanted failpoint the run waits for its parent, which halts all its threads by SIGSTOP,
copies the folder, and lets it go on. A killed process leaves what the kernel holds of its files at
that instant; that is what the copy reads. `test_kills.py` compares one copy with a real kill.

    run:     ... hit 40 ---- waits ---- hit 41 ... hit 52 ---- waits ----
    parent:            SIGSTOP copy SIGCONT              SIGSTOP copy SIGCONT
"""

import os
import shutil
import signal
import threading
from collections.abc import Iterator, Set
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from dualipo import failpoints
from dualipo.progress import PlainProgress
from dualipo.rounds import loop
from tests.rounds import harness as harnesses
from tests.rounds.harness import Harness, State


@dataclass(frozen=True)
class Stopped:
    """The copies of a harness's run, by the hit at which it was halted."""

    harness: Harness
    folder: Path

    @contextmanager
    def at(self, hit: int) -> Iterator[Path]:
        """Put the folder as it was at this hit where a run can go on with it."""
        with harnesses.elsewhere(self.harness) as path:
            shutil.copytree(self.folder / f"{hit}", path)
            yield path

    def killed_at(self, *hits: int) -> State:
        """Return what a run makes that is halted at the first hit and killed at further ones."""
        with self.at(hits[0]) as path:
            for hit in hits[1:]:
                code = harnesses.ended(self.harness.recipe(path), fail=f"kill@{hit}")
                assert code == -signal.SIGKILL, harnesses.log(path)
            assert harnesses.ended(self.harness.recipe(path)) == 0, harnesses.log(path)
            return harnesses.state(path)


def stopped(harness: Harness, folder: Path, hits: Set[int]) -> Stopped:
    """Run once more and keep a copy of its folder at each of these hits."""
    asks, asked = os.pipe()
    may_go_on, goes_on = os.pipe()
    with harnesses.elsewhere(harness) as path:

        def body() -> None:
            _wait_at(hits, asked, may_go_on)
            loop.run(harness.recipe(path), progress=PlainProgress())

        def copy(process: int) -> None:
            os.close(asked)
            while number := os.read(asks, 4):
                os.kill(process, signal.SIGSTOP)
                os.waitpid(process, os.WUNTRACED)
                shutil.copytree(path, folder / f"{int.from_bytes(number)}")
                os.kill(process, signal.SIGCONT)
                os.write(goes_on, b".")

        assert harnesses.in_child(body, path=path, meanwhile=copy) == 0, harnesses.log(path)
    for end in (asks, may_go_on, goes_on):
        os.close(end)
    missing = sorted(hit for hit in hits if not (folder / f"{hit}").is_dir())
    assert not missing, f"a second run does not pass the hits {missing}"
    return Stopped(harness, folder)


def _wait_at(hits: Set[int], asked: int, may_go_on: int) -> None:
    """Count the hits as `failpoints` does; at the wanted ones tell the parent, and wait."""
    in_order = threading.Lock()
    num_hits = 0

    def hit(name: str) -> None:
        nonlocal num_hits
        with in_order:
            num_hits += 1
            if num_hits in hits:
                os.write(asked, num_hits.to_bytes(4))
                os.read(may_go_on, 1)

    failpoints.hit = hit
