"""Progress tells people where a run is, how fast it works, and how long the rest will take.

The loop calls `plan` once with the units that are still to do in each stage, then `stage` and
`advance`. The time left is the sum, over the stages, of the units left times the seconds that a
unit has taken so far. A stage that has not run yet counts as 0 seconds, so until every planned
stage has run the estimate is a lower bound ("over 2 min").

The terminal's version needs rich and is in `cli/terminal.py`. Nothing in a run depends on the
clocks that are read here.
"""

import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Protocol, TextIO

from dualipo.amounts import duration


class Progress(Protocol):
    """An observer that the loop tells what it is doing."""

    def plan(self, units: Mapping[str, int]) -> None:
        """Expect these numbers of units, by stage, in the whole rest of the run."""
        ...

    def stage(self, name: str, *, round: int, attempt: int, total: int) -> None:
        """Begin a stage of `total` units; the stage before it ends."""
        ...

    def advance(self, num: int = 1, **figures: float) -> None:
        """Report `num` more units done, and the figures to show beside them."""
        ...

    def say(self, line: str) -> None:
        """Show a line that stays on the screen or in the log."""
        ...

    def close(self) -> None:
        """End the last stage."""
        ...


class Pace:
    """The units and seconds of every stage so far, from which rates and the time left follow."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._planned: Counter[str] = Counter()
        self._num_units: Counter[str] = Counter()
        self._seconds: dict[str, float] = {}
        self._start = clock()
        self.name = self.title = ""
        self.total = self.done = 0

    def plan(self, units: Mapping[str, int]) -> None:
        """Replace the numbers of units that are expected from now on."""
        self._planned = Counter(units)

    def begin(self, name: str, *, round: int, attempt: int, total: int) -> None:
        """End the stage before, and begin to count a new one."""
        self.end()
        when = "start" if round < 0 else f"round {round}"
        when += f", attempt {attempt}" if attempt else ""
        self.name, self.title = name, f"{when}: {readable(name)}"
        self.total, self.done = total, 0
        self._start = self._clock()

    def advance(self, num: int) -> None:
        """Count `num` more units of the stage as done."""
        self.done += num
        self._planned[self.name] = max(self._planned[self.name] - num, 0)

    def end(self) -> None:
        """End the stage, and remember its units and seconds."""
        if self.done:
            self._seconds[self.name] = self._seconds.get(self.name, 0.0) + self.seconds
            self._num_units[self.name] += self.done
        self.total = self.done = 0

    @property
    def seconds(self) -> float:
        """Seconds since the stage began."""
        return self._clock() - self._start

    @property
    def rate(self) -> float:
        """Units per second of this stage; 0 before the first unit."""
        return self.done / self.seconds if self.seconds > 0 else 0.0

    def time_left(self) -> str:
        """Return `about 3 min`, `over 3 min` where a stage has not run yet, or nothing."""
        left = dict(self._planned)
        left[self.name] = max(left.get(self.name, 0), self.total - self.done)
        left = {name: num for name, num in left.items() if num}
        unit_seconds = {name: self._unit_seconds(name) for name in left}
        seconds = sum(num * unit_seconds[name] for name, num in left.items())
        if not seconds:
            return ""
        return f"{'about' if all(unit_seconds.values()) else 'over'} {duration(seconds, 'clock')}"

    def _unit_seconds(self, name: str) -> float:
        """Return the mean seconds of a unit of a stage; 0 before its first unit."""
        runs_now = name == self.name
        num_units = self._num_units[name] + (self.done if runs_now else 0)
        seconds = self._seconds.get(name, 0.0) + (self.seconds if runs_now else 0.0)
        return seconds / num_units if num_units else 0.0


class PlainProgress:
    """Progress as plain lines for a log or a pipe: one every few seconds, and each stage's end."""

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
        """Replace the numbers of units that are expected from now on."""
        self._pace.plan(units)

    def stage(self, name: str, *, round: int, attempt: int, total: int) -> None:
        """End the stage before, and say what begins: its first units may take long."""
        self.close()
        self._pace.begin(name, round=round, attempt=attempt, total=total)
        if total:
            self.say(f"{self._pace.title}  0/{total}")

    def advance(self, num: int = 1, **figures: float) -> None:
        """Count the units, and print a line if the last one is `every_seconds` ago."""
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
        """Print how long the last stage took."""
        if self._pace.done:
            self.say(ended(self._pace))
        self._pace.end()


def ended(pace: Pace) -> str:
    """Return the line that stays when a stage is over."""
    return f"{pace.title}  {pace.done} in {duration(pace.seconds, 'clock')}"


def spell(figures: Mapping[str, float]) -> str:
    """Write figures in a line, for example `loss 0.693  accuracy 0.5`."""
    return "  ".join(f"{name.replace('_', ' ')} {value:.3g}" for name, value in figures.items())


def readable(name: str) -> str:
    """Return a stage's id as people read it: "sample.candidates" as "sample candidates"."""
    return name.replace("_", " ").replace(".", " ")
