"""`dualipo sample RUN`, `judge RUN`, ...: one stage of a run, alone.

A stage reads and writes the run directory only, so it can be run by hand, killed, and repeated.
"""

import argparse
from functools import partial
from pathlib import Path
from typing import Any

from dualipo.cli.show import require_run
from dualipo.cli.terminal import watching

STAGES = {
    "sample": "choose prompts and sample candidates",
    "judge": "score the candidates and confirm the best and the worst by votes",
    "prefer": "keep the certain preferences, drop and count the rest",
    "align": "train the generator on the preferences",
    "evaluate": "measure the round and rewrite the report",
    "refresh": "let the critic train on its most certain judgements",
}


def add(verbs: Any) -> None:
    """Declare a verb for each stage."""
    for name, what in STAGES.items():
        parser = verbs.add_parser(name, help=f"alone: {what}", allow_abbrev=False)
        parser.add_argument("run", type=Path, help="a run directory, e.g. runs/quick")
        parser.add_argument("--round", type=int, help="default: the round that is under way")
        parser.set_defaults(act=partial(act, name))


def act(name: str, arguments: argparse.Namespace) -> int:
    """Run one stage."""
    require_run(arguments.run)
    from dualipo.rounds import stages  # imports torch

    with watching() as progress:
        stages.run_stage(arguments.run, name, arguments.round, progress)
    return 0
