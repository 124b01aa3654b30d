"""`dualipo track RUN --to TRACKER`: send a run's metrics to a tracker, now or again later.

A run whose recipe sets `report_to` starts this command with `--follow` as a process beside itself.
"""

import argparse
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from dualipo.cli.show import require_run
from dualipo.cli.verbs import add_run, add_verb

# The names of `evaluation.share.trackers.TRACKERS`, kept apart as that imports more.
TRACKERS = ("tensorboard", "wandb", "trackio")
LEAVE_AFTER = 600  # seconds: a tracker that hangs does not stay for ever


def add(verbs: Any) -> None:
    """Declare the verb."""
    parser = add_verb(
        verbs,
        "track",
        "Send a run's metrics to TensorBoard, wandb or trackio. What the tracker has already is "
        "not sent again.",
    )
    add_run(parser)
    parser.add_argument("--to", choices=TRACKERS, required=True, help="The tracker.")
    parser.add_argument(
        "--logging-dir", type=Path, help="The tracker's folder (default: one in the run)."
    )
    parser.add_argument(
        "--follow", action="store_true", help="Go on sending until standard input ends."
    )
    parser.set_defaults(act=act)


def act(arguments: argparse.Namespace) -> int:
    """Send the metrics, and print how many lines were sent."""
    require_run(arguments.run)
    from dualipo.evaluation.share import trackers

    is_over = _when_input_ends() if arguments.follow else lambda: True
    folder = arguments.logging_dir
    num_lines = trackers.follow(arguments.run, to=arguments.to, folder=folder, is_over=is_over)
    print(f"{arguments.to}: {num_lines} lines of metrics sent")
    return 0


def _when_input_ends() -> Callable[[], bool]:
    """Return a function that tells whether standard input has ended."""
    over = threading.Event()

    def wait() -> None:
        sys.stdin.buffer.read()
        signal.alarm(LEAVE_AFTER)
        over.set()

    # Ctrl-C in the terminal is for the run, which then ends the input.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=wait, daemon=True).start()
    return over.is_set
