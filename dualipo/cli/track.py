"""`dualipo track RUN --to TRACKER`: send a run's metrics to a tracker, now or again later.

A run whose recipe says `report_to` does this beside itself with `--follow`.
"""

import argparse
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from dualipo.cli.show import require_run

# The names of `evaluation.share.trackers.TRACKERS`, kept apart as that imports more.
TRACKERS = ("tensorboard", "wandb", "trackio")
LEAVE_AFTER = 600  # seconds: a tracker that hangs does not stay for ever


def add(verbs: Any) -> None:
    """Declare the verb."""
    parser = verbs.add_parser(
        "track",
        help="send a run's metrics to TensorBoard, wandb or trackio",
        description="Send the metrics that a tracker does not have yet.",
        allow_abbrev=False,
    )
    parser.add_argument("run", type=Path, help="a run directory, e.g. runs/quick")
    parser.add_argument("--to", choices=TRACKERS, required=True)
    parser.add_argument("--logging-dir", type=Path, help="default: a folder in the run")
    parser.add_argument("--follow", action="store_true", help="go on until standard input ends")
    parser.set_defaults(act=act)


def act(arguments: argparse.Namespace) -> int:
    """Send, and say how much."""
    require_run(arguments.run)
    from dualipo.evaluation.share import trackers

    is_over = _when_input_ends() if arguments.follow else lambda: True
    folder = arguments.logging_dir
    num_lines = trackers.follow(arguments.run, to=arguments.to, folder=folder, is_over=is_over)
    print(f"{arguments.to}: {num_lines} lines of metrics sent")
    return 0


def _when_input_ends() -> Callable[[], bool]:
    over = threading.Event()

    def wait() -> None:
        sys.stdin.buffer.read()
        signal.alarm(LEAVE_AFTER)
        over.set()

    # Ctrl-C in the terminal is for the run, which then ends the input.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=wait, daemon=True).start()
    return over.is_set
