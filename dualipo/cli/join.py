"""`dualipo join RECIPE`: lend this machine's devices to the trainings of a run on another one."""

import argparse
import os
import time
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from dualipo import config, interrupt
from dualipo.cli.verbs import add_verb
from dualipo.errors import ConfigError, StageError
from dualipo.store import lock
from dualipo.store.rundir import LOCK

# The variables that say which machine this is, by who sets them: Slurm, SkyPilot, or a person.
NODE_RANKS = ("SLURM_NODEID", "SKYPILOT_NODE_RANK", "NODE_RANK")
PATIENCE_SECONDS = 600.0


def add(verbs: Any) -> None:
    """Declare the verb."""
    verb = add_verb(
        verbs,
        "join",
        "Lend this machine's devices to another machine's trainings. "
        "Start it with the same recipe and settings; it ends when the run does.",
        epilog="align.num_nodes and critic.num_nodes say how many machines train.",
    )
    verb.add_argument("recipe", type=Path, help="The recipe of the run.")
    verb.add_argument("overrides", nargs="*", metavar="key=value", help="Settings as of the run.")
    verb.add_argument(
        "--node-rank",
        type=int,
        help="The number of this machine, from 1; the run's own is 0. By default it is what Slurm "
        "or SkyPilot says, or the variable NODE_RANK.",
    )
    verb.set_defaults(act=act)


def act(arguments: argparse.Namespace) -> int:
    """Wait for the run to start, then take part in its trainings until it ends."""
    settings = config.load(arguments.recipe, arguments.overrides)
    run_path = Path(settings.output_dir).expanduser()
    node_rank = arguments.node_rank
    if node_rank is None:
        node_rank = node_rank_in(os.environ)
    if node_rank < 0:
        raise ConfigError(
            f"--node-rank: {node_rank} is no machine. Give its number, from 1 upwards."
        )
    if not node_rank:
        raise ConfigError(
            "join: this is machine 0, which drives the run itself. Start `dualipo run` here, and "
            "`dualipo join` on the others."
        )
    interrupt.install()
    wait_for(run_path)
    from dualipo.training import torchrun

    num_joined = torchrun.join(
        run_path / torchrun.CALL,
        node_rank=node_rank,
        goes_on=partial(lock.is_held, run_path / LOCK),
    )
    print(f"{run_path}: the run has ended. This machine took part in {num_joined} trainings.")
    return 0


def node_rank_in(variables: Mapping[str, str]) -> int:
    """Return the number of this machine among those of the run."""
    told = next((variables[name] for name in NODE_RANKS if name in variables), "")
    if not told.isdecimal():
        raise ConfigError(
            f"join: nobody says which machine this is ({', '.join(NODE_RANKS)}). Give --node-rank, "
            "from 1 upwards and another one on each machine."
        )
    return int(told)


def wait_for(run_path: Path) -> None:
    """Wait until a process drives the run; give up after ten minutes."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    print(f"{run_path}: waiting for the process that runs it.", flush=True)
    while not lock.is_held(run_path / LOCK):
        interrupt.check()
        if time.monotonic() > deadline:
            raise StageError(
                f"{run_path}: no process runs it. Start `dualipo run` on the first machine; all "
                "machines must see this folder at the same path."
            )
        time.sleep(1.0)
