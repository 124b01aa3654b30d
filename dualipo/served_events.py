"""What served critics cost; all other events are in `events`."""

from dataclasses import dataclass

from dualipo.event_json import Whole
from dualipo.events import Event


@dataclass(frozen=True, kw_only=True)
class UsageEvent(Event):
    """What a unit took of a served critic: requests, tokens of each kind, seconds of waiting.

    No digest reads it, as no two answers take the same time.
    """

    taken: Whole[dict[str, int]]


@dataclass(frozen=True, kw_only=True)
class ServingEvent(Event):
    """The engine that cast a unit's votes: whose weights it served, and how near it came to them.

    `gap` is the mean distance of the labels' probabilities over `num_questions` at the server that
    was farthest from the weights here.
    """

    critic_version: str
    sha256: str
    engine: str
    num_servers: int
    num_questions: int
    gap: float
