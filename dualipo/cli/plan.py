"""`dualipo plan RECIPE [--measured RUN]`: what a recipe will take, counted or scaled from a run."""

import argparse
from pathlib import Path
from typing import Any

from dualipo import config
from dualipo.cli.billing import add_devices, devices_of
from dualipo.cli.show import require_run
from dualipo.cli.verbs import add_verb
from dualipo.errors import ConfigError


def add(verbs: Any) -> None:
    """Declare the verb."""
    verb = add_verb(
        verbs,
        "plan",
        "Print what a recipe will take. It is counted from configurations, or scaled from what a "
        "small run of the same models took.",
    )
    verb.add_argument("recipe", type=Path, help="A TOML file, e.g. recipes/quick.toml.")
    verb.add_argument(
        "overrides", nargs="*", metavar="key=value", help="Replace a setting of the recipe."
    )
    verb.add_argument(
        "--measured", type=Path, metavar="RUN", help="The folder of a small run that is finished."
    )
    add_devices(verb)
    verb.set_defaults(act=act)


def act(arguments: argparse.Namespace) -> int:
    """Print the counted bill, or the projection of a measured one."""
    settings = config.load(arguments.recipe, arguments.overrides)
    devices = devices_of(arguments)
    if arguments.measured is None:
        from dualipo.rounds import bill, estimating

        print("\n".join([*estimating.lines(settings), *bill.lines(settings, devices)]))
        return 0
    if devices.name is not None:
        raise ConfigError(
            "--device: a projection is for the device that the run was measured on. Leave it out."
        )
    require_run(arguments.measured)
    from dualipo.rounds import projecting

    print(projecting.in_words(projecting.project(settings, arguments.measured), devices))
    return 0
