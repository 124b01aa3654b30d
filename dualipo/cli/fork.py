"""`dualipo fork RUN NEW [key=value ...]`: begin ablations that share a seed and a warm start."""

import argparse
from pathlib import Path
from typing import Any

from dualipo.cli.run import begun_with
from dualipo.cli.verbs import add_force_disk, add_verb
from dualipo.errors import ConfigError
from dualipo.stages import REDOABLE

_DESCRIPTION = """Copy a run, to go on with other settings. The copy shares all that the run has
done, or with --stage what came before a stage of a round; settings may change that nothing which is
kept has used."""


def add(verbs: Any) -> None:
    """Declare the verb."""
    parser = add_verb(verbs, "fork", _DESCRIPTION)
    add_force_disk(parser)
    parser.add_argument("run", type=Path, help="The folder of a run.")
    parser.add_argument("new", type=Path, help="The folder of the copy.")
    parser.add_argument(
        "overrides", nargs="*", metavar="key=value", help="Change a setting, e.g. rounds=3."
    )
    parser.add_argument(
        "--stage", choices=tuple(REDOABLE), help="Leave out this stage, and all that followed."
    )
    parser.add_argument(
        "--from-round", type=int, help="The round of --stage, from 0 (default: the last begun)."
    )
    parser.set_defaults(act=act)


def act(arguments: argparse.Namespace) -> int:
    """Copy the run, and print the command that goes on."""
    from dualipo.store.fork import fork

    settings = begun_with(arguments.run, arguments.overrides, output_dir=arguments.new)
    from dualipo.rounds import preflight  # imports torch

    if arguments.from_round is not None and arguments.stage is None:
        raise ConfigError("--from-round: it needs --stage. Add for example `--stage align`.")
    preflight.require(settings, begun_at=arguments.run, force_disk=arguments.force_disk)
    fork(
        arguments.run,
        arguments.new,
        settings,
        from_round=arguments.from_round,
        stage=arguments.stage,
    )
    print(f"{arguments.new}: the copy is ready. Go on with `dualipo resume {arguments.new}`.")
    return 0
