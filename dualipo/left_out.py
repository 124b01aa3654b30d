"""Whatever a run drops, folds or cuts is counted by its reason and shown by its first examples.

A unit commits it as a `LeftOutEvent`; the terminal says it where it happens, and the report lists
it round by round.
"""

from collections.abc import Iterable, Mapping, Sequence

from dualipo.amounts import count
from dualipo.event_parts import LeftOut
from dualipo.events import LeftOutEvent

NUM_EXAMPLES = 3
_LONGEST = 80  # characters of an example


def events_of(reasons: Mapping[str, Sequence[str]]) -> list[LeftOutEvent]:
    """Return the event of what a unit leaves out, by reason; none where it leaves out nothing."""
    kinds = {
        reason: LeftOut(num=len(items), examples=[shorten(item) for item in items[:NUM_EXAMPLES]])
        for reason, items in sorted(reasons.items())
        if items
    }
    return [LeftOutEvent(kinds=kinds)] if kinds else []


def together(events: Iterable[LeftOutEvent]) -> dict[str, LeftOut]:
    """Add up what several units left out."""
    total: dict[str, LeftOut] = {}
    for event in events:
        for reason, part in event.kinds.items():
            before = total.get(reason, LeftOut(num=0, examples=[]))
            examples = [*dict.fromkeys([*before.examples, *part.examples])][:NUM_EXAMPLES]
            total[reason] = LeftOut(num=before.num + part.num, examples=examples)
    return total


def in_words(kinds: Mapping[str, LeftOut]) -> list[str]:
    """Say what was left out, a line for each reason."""
    return [
        f"{count(part.num)} {reason}: {'; '.join(part.examples)}" for reason, part in kinds.items()
    ]


def shorten(text: str) -> str:
    """Return an example in one line that can be printed and is not too long."""
    line = "".join(c if c.isprintable() else f"<U+{ord(c):04X}>" for c in text)
    return line if len(line) <= _LONGEST else f"{line[: _LONGEST - 1]}…"
