"""The engine over a crew: who gets which unit, and what happens when a worker does not answer.

    queue of units --hand--> worker (one unit under way, one waiting) --answer--> done, in any order

| a worker | then |
|---|---|
| dies | its unit under way has failed once, the one that waited has not; both go back |
| is silent for `unit_timeout` seconds | it is killed, so it dies |
| answers with a failure | the unit goes back, and the worker is ended: its state is unknown |
| answers with a refusal | the refusal is raised, as every worker would refuse |

A unit that failed goes to the worker that is farthest from its failures: on another host, or else
in another slot, whose device differs. Nearer ones leave it alone, so that a broken device or a full
disk cannot fail it again and again. Where it failed `max_failures` times it is set aside, and named
when all others are done. The second unit, which waits at the worker, saves the time of an answer
and a question. Near the end of a job it would keep a unit from an idle worker, so it is given only
while many are left.
"""

import itertools
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from dualipo import interrupt
from dualipo.amounts import listed
from dualipo.errors import StageError
from dualipo.store.worker_rows import WorkerRow
from dualipo.workers.crew import Answered, Crew, Died, Ready, Refused, Told
from dualipo.workers.job import Cost, Done, Job, Work
from dualipo.workers.roster import Roster

IN_FLIGHT = 2  # units at one worker: one under way, one waiting
QUEUED = 4096  # units that are held ready; of a large stage the others are made when they are due
LOOK_EVERY = 0.5  # seconds of waiting between two looks at signals and silent workers


class SetAside(StageError):
    """Units that failed too often; `last_error` is what went wrong last with the first of them."""

    def __init__(self, message: str, last_error: str) -> None:
        super().__init__(message)
        self.last_error = last_error


class Seat(NamedTuple):
    """Where a worker sits; the one that takes its place on this host sits there too."""

    host: str
    slot: int


@dataclass
class _Task:
    """A unit that is not done yet, and how often it failed."""

    work: Work
    last_error: str = ""
    failed_at: list[Seat] = field(default_factory=list)

    def distance(self, seat: Seat) -> int:
        """Return how far a seat is from those where it failed: the same, the same host, or else."""
        if seat in self.failed_at:
            return 0
        return 1 if any(seat.host == failed.host for failed in self.failed_at) else 2


@dataclass
class _Hand:
    """A worker that is alive, with the units that it has; `since` is when the first one began."""

    status: WorkerRow
    seat: Seat
    tasks: deque[_Task] = field(default_factory=deque)
    since: float = 0.0


class CrewEngine:
    """An engine whose units are done by a crew, which is started at the first unit."""

    def __init__(
        self,
        start: Callable[[], Crew],
        *,
        unit_timeout: float,
        max_failures: int,
        roster: Roster,
    ) -> None:
        self._start = start
        self._crew: Crew | None = None
        self._unit_timeout = unit_timeout
        self._max_failures = max_failures
        self._roster = roster
        self._hands: dict[str, _Hand] = {}
        self._dismissed: set[str] = set()  # workers that were ended, whose death is yet to be told
        self.num_lost = 0
        self._num_false_starts = 0  # workers that died before they were ready, one after another

    def run(self, job: Job, works: Iterable[Work]) -> Generator[Done, None, None]:
        """Yield units as they are done; raise SetAside at the end if some were set aside."""
        ahead, queue = iter(works), deque[_Task]()
        aside: list[_Task] = []
        _fill(queue, ahead)
        if queue and self._crew is None:
            self._crew = self._start()
        try:
            while queue or any(hand.tasks for hand in self._hands.values()):
                interrupt.check()
                _fill(queue, ahead)
                self._hand_out(job, queue)
                for told in self._poll():
                    if done := self._settle(told, queue, aside):
                        yield done
                self._end_silent()
                self._roster.show()
        except BaseException:  # what is under way would be answered to the next job
            self.close()
            raise
        if aside:
            raise SetAside(_in_words(aside, self._max_failures), aside[0].last_error)

    def rest(self) -> None:
        """Free the workers' models; between two jobs no unit is under way."""
        if self._crew and not any(hand.tasks for hand in self._hands.values()):
            self._crew.rest()

    def close(self) -> None:
        """End all workers; the next job starts new ones."""
        if self._crew:
            self._crew.close()
        self._crew = None
        self._hands.clear()
        self._dismissed.clear()
        self._roster.end()

    def _poll(self) -> list[Told]:
        assert self._crew is not None
        return self._crew.poll(LOOK_EVERY)

    def _hand_out(self, job: Job, queue: deque[_Task]) -> None:
        """Give every idle worker a unit, then a second one to each while many are left."""
        assert self._crew is not None
        for depth in range(IN_FLIGHT):
            for name, hand in self._hands.items():
                if depth and len(queue) <= len(self._hands):
                    return
                if len(hand.tasks) == depth and (task := self._next_for(hand, queue)):
                    if not hand.tasks:
                        self._begin(hand, task)
                    hand.tasks.append(task)
                    self._crew.hand(name, job, task.work)

    def _next_for(self, hand: _Hand, queue: deque[_Task]) -> _Task | None:
        """Take the first unit of which no other worker is farther from its failures."""
        seats = [each.seat for each in self._hands.values()]
        for task in queue:
            if not task.failed_at or task.distance(hand.seat) == max(map(task.distance, seats)):
                queue.remove(task)
                return task
        return None

    def _begin(self, hand: _Hand, task: _Task | None) -> None:
        hand.since = time.monotonic()
        hand.status.begin(task.work.name if task else "")

    def _settle(self, told: Told, queue: deque[_Task], aside: list[_Task]) -> Done | None:
        """Take note of what happened; return the unit if it means that one is done."""
        if isinstance(told, Refused):
            raise told.refusal
        if isinstance(told, Ready):
            self._num_false_starts = 0
            status = self._roster.add(told.worker, told.place.host, told.place.device)
            self._hands[told.worker] = _Hand(status, Seat(told.place.host, told.slot))
        elif isinstance(told, Died):
            self._bury(told, queue, aside)
        elif told.worker in self._hands:  # else it was ended, and had answered before
            return self._take(told, queue, aside)
        return None

    def _take(self, answered: Answered, queue: deque[_Task], aside: list[_Task]) -> Done | None:
        outcome, hand = answered.outcome, self._hands[answered.worker]
        if outcome.refusal is not None:
            raise outcome.refusal
        task = hand.tasks.popleft()
        self._begin(hand, hand.tasks[0] if hand.tasks else None)
        if outcome.failure:
            hand.status.num_failures += 1
            self._fail(task, hand.seat, outcome.failure, queue, aside)
            self._dismiss(answered.worker, queue)
            return None
        assert isinstance(outcome.cost, Cost)
        hand.status.finish(outcome.cost.seconds, outcome.cost.device)
        return Done(task.work, outcome.row, outcome.cost)

    def _bury(self, died: Died, queue: deque[_Task], aside: list[_Task]) -> None:
        """Take a dead worker's units back; the one under way has failed."""
        if died.worker in self._dismissed:
            self._dismissed.remove(died.worker)
            return
        hand = self._hands.pop(died.worker, None)
        if hand is None:
            self._count_false_start(died)
            return
        hand.status.die()
        tasks = list(hand.tasks)
        if tasks:
            self.num_lost += 1
            hand.status.num_failures += 1
            self._fail(tasks[0], hand.seat, died.reason, queue, aside)
        queue.extendleft(reversed(tasks[1:]))

    def _dismiss(self, name: str, queue: deque[_Task]) -> None:
        """End a worker whose state is unknown; the unit that waited there has not failed."""
        assert self._crew is not None
        hand = self._hands.pop(name)
        hand.status.die()
        self.num_lost += bool(hand.tasks)
        queue.extendleft(reversed(hand.tasks))
        self._dismissed.add(name)
        self._crew.end(name)

    def _fail(
        self, task: _Task, seat: Seat, error: str, queue: deque[_Task], aside: list[_Task]
    ) -> None:
        task.last_error = error
        task.failed_at.append(seat)
        (queue if len(task.failed_at) < self._max_failures else aside).append(task)

    def _end_silent(self) -> None:
        """Kill every worker that has had its unit for too long."""
        assert self._crew is not None
        for name, hand in self._hands.items():
            if hand.tasks and time.monotonic() - hand.since > self._unit_timeout:
                hand.since = time.monotonic()  # its death is told by the crew, in its own time
                self._crew.end(name)

    def _count_false_start(self, died: Died) -> None:
        """Give up where workers end before they begin, and no other works."""
        self._num_false_starts += 1
        if self._num_false_starts >= self._max_failures and not self._hands:
            raise StageError(
                f"workers: {self._num_false_starts} of them ended before they could begin, the "
                f"last one as {died.reason}. See logs/ in the run's folder for what it said."
            )


def _fill(queue: deque[_Task], ahead: Iterator[Work]) -> None:
    """Take so many of the units ahead that the workers do not wait, and memory stays flat."""
    queue.extend(_Task(work) for work in itertools.islice(ahead, max(0, QUEUED - len(queue))))


def _in_words(aside: list[_Task], max_failures: int) -> str:
    """Name the units that were set aside, their items and what went wrong last."""
    lines = [f"workers: {len(aside)} units failed {max_failures} times and were set aside."]
    for task in aside:
        lines.append(f"  {task.work.name} ({listed(task.work.items)}): {task.last_error}")
    lines.append(
        "All other units are done. Mend the cause, or raise workers.unit_timeout if the devices "
        "are slow, and repeat the command: it does these units alone."
    )
    return "\n".join(lines)
