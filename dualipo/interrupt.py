"""Stop between two units of work when asked to by SIGTERM or SIGINT (fault 10).

The handler only remembers the signal; `check()` raises at a place where nothing is half-done. The
command line turns `Interrupted` into exit code 128 + signal and prints the command that resumes.
A second signal ends the process at once: the run directory survives that too.
"""

import os
import signal
from types import FrameType

_received: int | None = None


class Interrupted(BaseException):
    """Raised by `check`. Not an Exception, so that no fault-tolerance site swallows it."""

    def __init__(self, signum: int) -> None:
        super().__init__(f"stopped by {signal.Signals(signum).name}")
        self.signum = signum
        self.exit_code = 128 + signum


def install() -> None:
    """Handle SIGTERM and SIGINT from here on. Call it in the main thread."""
    signal.signal(signal.SIGTERM, _remember)
    signal.signal(signal.SIGINT, _remember)


def check() -> None:
    """Raise Interrupted if a signal has arrived; stands after each unit and each micro-batch."""
    if _received is not None:
        raise Interrupted(_received)


def _remember(signum: int, _frame: FrameType | None) -> None:
    global _received
    if _received is not None:
        os._exit(128 + signum)
    _received = signum
