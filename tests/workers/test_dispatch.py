"""A unit that failed goes to another worker; the crew is scripted, so that the order is known."""

from collections import deque
from pathlib import Path

import pytest

from dualipo.workers.crew import Answered, Died, Ready, Told
from dualipo.workers.dispatch import CrewEngine
from dualipo.workers.job import Cost, Job, Work
from dualipo.workers.roster import Roster
from dualipo.workers.worker import Outcome, Place
from tests.workers import sums
from tests.workers.test_processes import SUMS


class Scripted:
    """A good worker in slot 0, and one in slot 1 that is quicker and fails every unit."""

    def __init__(self, bad_host: str) -> None:
        self.bad_host = bad_host
        self.num_bad = 0
        self.handed: dict[str, deque[Work]] = {"good": deque()}
        self.told: list[Told] = [Ready("good", Place(1, "here", "cpu"), 0)]
        self.replace()

    def replace(self) -> None:
        self.num_bad += 1
        name = f"bad {self.num_bad}"
        self.handed[name] = deque()
        self.told.append(Ready(name, Place(2, self.bad_host, "cpu"), 1))

    def poll(self, seconds: float) -> list[Told]:
        for name, works in reversed(self.handed.items()):
            if works and not self.told:
                asked = works.popleft().content
                row = 100 + sum(asked.numbers)
                answer = Outcome(row, Cost(1.0, 1.0, "cpu", "here"))
                broken = Outcome(failure="No space left on device")
                self.told.append(Answered(name, answer if name == "good" else broken))
        told, self.told = self.told, []
        return told

    def hand(self, worker: str, job: Job, work: Work) -> None:
        self.handed[worker].append(work)

    def end(self, worker: str) -> None:
        del self.handed[worker]
        self.told.append(Died(worker, "ended"))
        self.replace()

    def rest(self) -> None: ...

    def close(self) -> None: ...


@pytest.mark.parametrize("bad_host", ["here", "elsewhere"])
def test_fault_43_a_unit_that_failed_waits_for_another_slot_or_host(
    tmp_path: Path, bad_host: str
) -> None:
    crew = Scripted(bad_host)
    engine = CrewEngine(lambda: crew, unit_timeout=60.0, max_failures=2, roster=Roster(tmp_path))
    works = sums.works(tmp_path, {})
    assert {each.work.name: each.row for each in engine.run(sums.job(), works)} == SUMS
    assert crew.num_bad > 1, "the bad worker was never tried"
