"""What a crew of workers offers to the dispatcher, and what it tells of them."""

from dataclasses import dataclass
from typing import Protocol

from dualipo.errors import DualipoError
from dualipo.workers.job import Job, Work
from dualipo.workers.worker import Outcome, Place

REST_SECONDS = 60.0  # how long a crew waits for its workers to free what they keep
START_SECONDS = 900.0  # for a process to begin: it imports torch, perhaps from a slow disk


@dataclass(frozen=True)
class Ready:
    """A worker that can be given units from now on; one that takes its place has its slot."""

    worker: str
    place: Place
    slot: int


@dataclass(frozen=True)
class Refused:
    """A worker that cannot begin, for a reason that a user must mend."""

    worker: str
    refusal: DualipoError


@dataclass(frozen=True)
class Answered:
    """The outcome of the oldest unit that a worker had."""

    worker: str
    outcome: Outcome


@dataclass(frozen=True)
class Died:
    """A worker that is gone with every unit it had; the crew replaces it by itself."""

    worker: str
    reason: str


Told = Ready | Refused | Answered | Died


class Crew(Protocol):
    """Workers of one kind; each is known by a name that no other, and no replacement, has."""

    def poll(self, seconds: float) -> list[Told]:
        """Return what happened since the last call; wait at most so long for something."""

    def hand(self, worker: str, job: Job, work: Work) -> None:
        """Give a unit to a worker, which does its units one after another."""

    def end(self, worker: str) -> None:
        """Kill a worker, also one that hangs; it is told as one that died."""

    def rest(self) -> None:
        """Have every idle worker free what it keeps; one that does not within a time is killed."""

    def close(self) -> None:
        """End every worker."""
