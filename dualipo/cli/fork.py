"""`dualipo fork RUN NEW [key=value ...]`: ablations that share a run's seed and warm start."""

import argparse
from pathlib import Path
from typing import Any

from dualipo import config
from dualipo.cli.show import require_run
from dualipo.store import atomic
from dualipo.store.fork import fork


def add(verbs: Any) -> None:
    """Declare the verb."""
    parser = verbs.add_parser(
        "fork",
        help="copy a run that began no round, to go on with other settings",
        description="Copy a run made with rounds=0, so that several runs share its warm start.",
        allow_abbrev=False,
    )
    parser.add_argument("run", type=Path, help="a run that was made with rounds=0")
    parser.add_argument("new", type=Path, help="the folder of the copy")
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="e.g. rounds=3")
    parser.set_defaults(act=act)


def act(arguments: argparse.Namespace) -> int:
    """Copy, then say how to go on."""
    require_run(arguments.run)
    flat = atomic.read_json(arguments.run / "config.json")
    overrides = [*arguments.overrides, f"output_dir={arguments.new}"]
    settings = config.from_leaves(flat, subject=str(arguments.run), overrides=overrides)
    fork(arguments.run, arguments.new, settings)
    print(f"{arguments.new}: goes on with `dualipo resume {arguments.new}`")
    return 0
