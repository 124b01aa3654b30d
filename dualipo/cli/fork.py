"""`dualipo fork RUN NEW [key=value ...]`: begin ablations that share a seed and a warm start."""

import argparse
from pathlib import Path
from typing import Any

from dualipo import config
from dualipo.cli.show import require_run
from dualipo.cli.verbs import add_force_disk, add_verb
from dualipo.store import rundir

_DESCRIPTION = """Copy a run that has begun no round, to change its settings. Several copies of a
run that was made with rounds=0 share its warm start."""


def add(verbs: Any) -> None:
    """Declare the verb."""
    parser = add_verb(verbs, "fork", _DESCRIPTION)
    add_force_disk(parser)
    parser.add_argument("run", type=Path, help="The folder of a run that was made with rounds=0.")
    parser.add_argument("new", type=Path, help="The folder of the copy.")
    parser.add_argument(
        "overrides", nargs="*", metavar="key=value", help="Change a setting, e.g. rounds=3."
    )
    parser.set_defaults(act=act)


def act(arguments: argparse.Namespace) -> int:
    """Copy the run, and print the command that goes on."""
    require_run(arguments.run)
    rundir.refuse_tuning(arguments.run)
    from dualipo.store.fork import fork
    from dualipo.store.run_reader import RunReader

    leaves = RunReader(arguments.run).written_settings
    overrides = [*arguments.overrides, f"output_dir={arguments.new}"]
    settings = config.from_leaves(leaves, subject=str(arguments.run), overrides=overrides)
    from dualipo.rounds import preflight  # imports torch

    preflight.require(settings, begun_at=arguments.run, force_disk=arguments.force_disk)
    fork(arguments.run, arguments.new, settings)
    print(f"{arguments.new}: the copy is ready. Go on with `dualipo resume {arguments.new}`.")
    return 0
