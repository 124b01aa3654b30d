"""Stop between two units of work when asked to by SIGTERM or SIGINT (fault 10).

The handler only remembers the signal, and `check()` raises at a place where nothing is half-done.
The command line turns `Interrupted` into exit code 128 + signal, and prints the command that goes
on. A second signal ends the process at once, which the run directory survives too.
"""

import os
import signal
from types import FrameType

_received: int | None = None


class Interrupted(BaseException):
    """The end that a signal asked for; it is no Exception, so `except Exception` lets it pass."""

    def __init__(self, signum: int) -> None:
        super().__init__(f"stopped by {signal.Signals(signum).name}")
        self.signum = signum
        self.exit_code = 128 + signum


def install() -> None:
    """Handle SIGTERM and SIGINT from now on; call it in the main thread."""
    signal.signal(signal.SIGTERM, _remember)
    signal.signal(signal.SIGINT, _remember)


def check() -> None:
    """Raise Interrupted if a signal has arrived; it is called after each unit and training step."""
    if _received is not None:
        raise Interrupted(_received)


def _remember(signum: int, _frame: FrameType | None) -> None:
    global _received
    if _received is not None:
        os._exit(128 + signum)
    _received = signum
