"""`dualipo sample RUN`, `dualipo judge RUN` and their like: one stage of a run alone.

A stage reads and writes the run's folder only, so it can be run by hand, killed, and repeated.
"""

import argparse
from functools import partial
from typing import Any

from dualipo.cli.show import require_run
from dualipo.cli.terminal import watching
from dualipo.cli.verbs import add_force_disk, add_run, add_verb
from dualipo.stages import Command
from dualipo.store import rundir

STAGES: dict[Command, str] = {
    "sample": "Run one stage: choose prompts and sample clips of them.",
    "judge": "Run one stage: score the clips, confirm best and worst by votes.",
    "prefer": "Run one stage: keep sure preferences, count what is dropped.",
    "align": "Run one stage: train the generator on the preferences.",
    "evaluate": "Run one stage: measure the round and write the report.",
    "refresh": "Run one stage: train the critic on its surest judgements.",
}


def add(verbs: Any) -> None:
    """Declare a verb for each stage."""
    for name, description in STAGES.items():
        parser = add_verb(verbs, name, description)
        add_run(parser)
        parser.add_argument(
            "--round", type=int, help="The round, counted from 0 (default: the one under way)."
        )
        add_force_disk(parser)
        parser.set_defaults(act=partial(act, name))


def act(name: Command, arguments: argparse.Namespace) -> int:
    """Run the stage `name` of a run."""
    require_run(arguments.run)
    rundir.refuse_tuning(arguments.run)
    from dualipo.evaluation import stage_outcome
    from dualipo.rounds import commands, preflight  # imports torch

    preflight.require(commands.config_of(arguments.run), force_disk=arguments.force_disk)
    with watching() as progress:
        round_ = commands.run_stage(arguments.run, name, arguments.round, progress)
    print(stage_outcome.text(arguments.run, name, round_))
    return 0
