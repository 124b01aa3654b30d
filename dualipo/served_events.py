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
