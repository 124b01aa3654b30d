"""What an engine is given, a job and its units, and what it gives back for each unit."""

from collections.abc import Callable, Generator, Iterable
from dataclasses import dataclass
from typing import Any, Protocol


@dataclass(frozen=True)
class Job:
    """One kind of work, named by functions that a worker can import.

    `open(spec)` makes the bench on which units are done, for example loaded models; a worker keeps
    it for as long as jobs have an equal `spec`. `work(bench, content)` does one unit and returns
    its row. All of it must be picklable, and a row must be small: what is large is a file.
    """

    open: Callable[[Any], Any]
    spec: Any
    work: Callable[[Any, Any], Any]


@dataclass(frozen=True)
class Work:
    """One unit of a job: its name and its items' ids for messages, and what `Job.work` is given."""

    name: str
    items: tuple[str, ...]
    content: Any


@dataclass(frozen=True)
class Cost:
    """What a unit took: seconds, the process' peak memory so far in MB, and where it ran."""

    seconds: float
    peak_mb: float
    device: str
    host: str


@dataclass(frozen=True)
class Done:
    """A unit that was done, with the row that `Job.work` returned."""

    work: Work
    row: Any
    cost: Cost


class Engine(Protocol):
    """Who does the units of a job.

    `num_lost` workers have ended in the middle of a unit, whose files may be half-written.
    """

    num_lost: int

    def run(self, job: Job, works: Iterable[Work]) -> Generator[Done, None, None]:
        """Yield each unit as soon as it is done, in any order; raise where one cannot be done."""

    def rest(self) -> None:
        """Free the workers' models, so that this process can load its own."""

    def close(self) -> None:
        """End all workers."""
