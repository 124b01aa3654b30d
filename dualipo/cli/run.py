"""`dualipo run RECIPE [key=value ...]`: the whole method; the same command again resumes."""

import argparse
from pathlib import Path
from typing import Any

from dualipo import config
from dualipo.cli.terminal import watching


def add(verbs: Any) -> None:
    """Declare the verb."""
    parser = verbs.add_parser(
        "run",
        help="run a recipe, or go on with its run",
        description="Run a recipe. The same command again resumes the run where it stopped.",
        allow_abbrev=False,
    )
    parser.add_argument("recipe", type=Path, help="a TOML file, e.g. recipes/quick.toml")
    parser.add_argument(
        "overrides",
        nargs="*",
        metavar="key=value",
        help="replace a setting of the recipe, e.g. align.beta_dpo=3000",
    )
    parser.add_argument(
        "--dry-run", action="store_true", help="print the resolved settings and the plan, no more"
    )
    parser.set_defaults(act=act)


def act(arguments: argparse.Namespace) -> int:
    """Run, then print the results and where the report is."""
    settings = config.load(arguments.recipe, arguments.overrides)
    from dualipo.rounds import loop  # imports torch: only after the recipe is known to be good

    if arguments.dry_run:
        print(loop.plan_text(settings))
        return 0
    with watching() as progress:
        path = loop.run(settings, progress=progress)
    from dualipo.evaluation import summary

    print(summary.table(path))
    print(f"\nThe report with clips and curves: {path / 'report.html'}")
    return 0
