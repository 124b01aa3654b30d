"""What a run says while it works: where it is, how fast, and how long the rest will take.

The loop calls `plan` once with the units that are still to do in each stage, then `stage` and
`advance`. The time left is what remains of each stage at the rate seen so far; a stage not seen
yet has no rate, so until every planned stage has run the estimate is a lower bound ("over 2 min").

Left out: the terminal's version, which needs rich (`cli/terminal.py`). Clocks here only inform;
nothing decides by them.
"""

import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Protocol, TextIO

from dualipo.amounts import duration


class Progress(Protocol):
    """Whom the loop tells what it is doing."""

    def plan(self, units: Mapping[str, int]) -> None:
        """Expect these numbers of units from now on, by stage, in the whole rest of the run."""
        ...

    def stage(self, name: str, *, round: int, attempt: int, total: int) -> None:
        """Begin a stage of `total` units; the stage before it ends."""
        ...

    def advance(self, num: int = 1, **figures: float) -> None:
        """Report `num` more units done, and what to show beside them."""
        ...

    def say(self, line: str) -> None:
        """Say something that should stay to be read."""
        ...

    def close(self) -> None:
        """End the last stage."""
        ...


class SilentProgress:
    """Says nothing."""

    def plan(self, units: Mapping[str, int]) -> None:
        """Do nothing."""

    def stage(self, name: str, *, round: int, attempt: int, total: int) -> None:
        """Do nothing."""

    def advance(self, num: int = 1, **figures: float) -> None:
        """Do nothing."""

    def say(self, line: str) -> None:
        """Do nothing."""

    def close(self) -> None:
        """Do nothing."""


class Pace:
    """Units and seconds of every stage so far; hence rates and the time left."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._planned: Counter[str] = Counter()
        self._num_units: Counter[str] = Counter()
        self._seconds: dict[str, float] = {}
        self._start = clock()
        self.name = self.title = ""
        self.total = self.done = 0

    def plan(self, units: Mapping[str, int]) -> None:
        """Replace what is expected from now on."""
        self._planned = Counter(units)

    def begin(self, name: str, *, round: int, attempt: int, total: int) -> None:
        """Count for a new stage."""
        self.end()
        where = "start" if round < 0 else f"round {round}"
        again = f", attempt {attempt}" if attempt else ""
        self.name, self.title = name, f"{where}{again}: {name.replace('_', ' ')}"
        self.total, self.done = total, 0
        self._start = self._clock()

    def advance(self, num: int) -> None:
        """Count units of the stage."""
        self.done += num
        self._planned[self.name] = max(self._planned[self.name] - num, 0)

    def end(self) -> None:
        """Keep what the stage has taught about its rate."""
        if self.done:
            self._seconds[self.name] = self._seconds.get(self.name, 0.0) + self.seconds
            self._num_units[self.name] += self.done
        self.total = self.done = 0

    @property
    def seconds(self) -> float:
        """How long the stage has been running."""
        return self._clock() - self._start

    @property
    def rate(self) -> float:
        """Units a second of this stage; 0 before the first."""
        return self.done / self.seconds if self.seconds > 0 else 0.0

    def time_left(self) -> str:
        """`about 3 min`, `over 3 min` where some stage has no rate yet, or nothing."""
        left = dict(self._planned)
        left[self.name] = max(left.get(self.name, 0), self.total - self.done)
        left = {name: num for name, num in left.items() if num}
        rates = {name: self._rate_of(name) for name in left}
        seconds = sum(num * rates[name] for name, num in left.items())
        if not seconds:
            return ""
        return f"{'about' if all(rates.values()) else 'over'} {duration(seconds, 'clock')}"

    def _rate_of(self, name: str) -> float:
        """Seconds a unit of a stage; 0 where none was seen."""
        here = name == self.name
        num_units = self._num_units[name] + (self.done if here else 0)
        seconds = self._seconds.get(name, 0.0) + (self.seconds if here else 0.0)
        return seconds / num_units if num_units else 0.0


class PlainProgress:
    """Plain lines for a log file or a pipe: at most one every few seconds, and each stage's end."""

    def __init__(
        self,
        *,
        stream: TextIO | None = None,
        every_seconds: float = 5.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._stream = stream or sys.stderr
        self._every_seconds = every_seconds
        self._clock = clock
        self._pace = Pace(clock=clock)
        self._last_line = clock()

    def plan(self, units: Mapping[str, int]) -> None:
        """Replace what is expected from now on."""
        self._pace.plan(units)

    def stage(self, name: str, *, round: int, attempt: int, total: int) -> None:
        """End the stage before, and begin one in silence."""
        self.close()
        self._pace.begin(name, round=round, attempt=attempt, total=total)

    def advance(self, num: int = 1, **figures: float) -> None:
        """Count, and print a line where the last one is long ago."""
        self._pace.advance(num)
        if self._clock() - self._last_line < self._every_seconds:
            return
        pace = self._pace
        parts = [f"{pace.done}/{pace.total}", f"{pace.rate:.3g}/s", spell(figures)]
        left = pace.time_left()
        self.say(f"{pace.title}  " + "  ".join(p for p in [*parts, left and f"{left} left"] if p))

    def say(self, line: str) -> None:
        """Print a line at once."""
        self._last_line = self._clock()
        print(line, file=self._stream, flush=True)

    def close(self) -> None:
        """Print how long the stage took."""
        if self._pace.done:
            self.say(ended(self._pace))
        self._pace.end()


def ended(pace: Pace) -> str:
    """The line that stays when a stage is over."""
    return f"{pace.title}  {pace.done} in {duration(pace.seconds, 'clock')}"


def spell(figures: Mapping[str, float]) -> str:
    """`loss 0.693  accuracy 0.5`."""
    return "  ".join(f"{name.replace('_', ' ')} {value:.3g}" for name, value in figures.items())
