"""Progress on a terminal: one live line, and a line that stays for each finished stage.

Rich is imported where a line is shown, since every command imports this module.
"""

import contextlib
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING

from dualipo import interrupt
from dualipo.progress import Pace, PlainProgress, Progress, ended, spell

if TYPE_CHECKING:
    from rich.console import Console


class TerminalProgress:
    """A live line with round, stage, item, rate, figures, and the time left of the whole run."""

    def __init__(
        self, console: "Console | None" = None, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn
        from rich.progress import Progress as RichProgress

        self._pace = Pace(clock=clock)
        self._live = RichProgress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TextColumn("{task.fields[note]}", style="dim"),
            console=console or Console(stderr=True, highlight=False),
            transient=True,
        )
        self._live.start()
        self._task = self._live.add_task("", note="", visible=False)

    def plan(self, units: Mapping[str, int]) -> None:
        """Replace the units that are expected from now on."""
        self._pace.plan(units)

    def stage(self, name: str, *, round: int, attempt: int, total: int) -> None:
        """End the stage before, and show the new one."""
        self._end()
        self._pace.begin(name, round=round, attempt=attempt, total=total)
        self._live.reset(
            self._task, description=self._pace.title, total=total, note="", visible=True
        )

    def advance(self, num: int = 1, **figures: float) -> None:
        """Move the bar."""
        self._pace.advance(num)
        left = self._pace.time_left()
        parts = [f"{self._pace.rate:.3g}/s", spell(figures), left and f"{left} left"]
        note = "  ".join(part for part in parts if part)
        self._live.update(self._task, completed=self._pace.done, note=note)

    def say(self, line: str) -> None:
        """Print a line above the bar."""
        self._live.console.print(line, markup=False, highlight=False, soft_wrap=True)

    def close(self) -> None:
        """End the last stage and give the terminal back."""
        self._end()
        self._live.stop()

    def _end(self) -> None:
        if self._pace.done:
            self.say(ended(self._pace))
        self._pace.end()


@contextlib.contextmanager
def watching() -> Iterator[Progress]:
    """Show progress on a terminal or in plain lines, and let signals end the command well."""
    interrupt.install()
    progress = TerminalProgress() if sys.stderr.isatty() else PlainProgress()
    try:
        yield progress
    finally:
        progress.close()


@contextlib.contextmanager
def counting_rows() -> Iterator[Callable[..., None]]:
    """Count rows on a terminal; yield the function that counts one more, or as many as it gets."""
    from rich.console import Console
    from rich.progress import Progress as RichProgress
    from rich.progress import TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.completed:,} rows"), TimeElapsedColumn())
    console = Console(stderr=True)
    with RichProgress(
        *columns, console=console, transient=True, disable=not sys.stderr.isatty()
    ) as bar:
        task = bar.add_task("", total=None)
        yield lambda num_rows=1: bar.advance(task, num_rows)
