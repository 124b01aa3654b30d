"""`dualipo run RECIPE [key=value ...]`: the whole method; the same command again resumes.

`dualipo resume RUN` resumes by the run's own configuration, without the recipe.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dualipo import config, recipes
from dualipo.cli.billing import add_devices, devices_of, refuse_devices
from dualipo.cli.show import require_run
from dualipo.cli.terminal import watching
from dualipo.cli.verbs import add_force_disk, add_run, add_verb
from dualipo.errors import ConfigError, DualipoError
from dualipo.stages import REDOABLE, Again
from dualipo.store import rundir


def add(verbs: Any) -> None:
    """Declare `run` and `resume`."""
    parser = add_verb(
        verbs,
        "run",
        "Run a recipe from the warm start to the last round. The same command again resumes the "
        "run where it stopped.",
        epilog="`dualipo settings` explains every key.",
    )
    parser.add_argument(
        "recipe", type=Path, nargs="?", help="A TOML file, e.g. recipes/quick.toml."
    )
    parser.add_argument(
        "overrides",
        nargs="*",
        metavar="key=value",
        help="Replace a setting of the recipe, e.g. align.beta_dpo=3000.",
    )
    parser.add_argument(
        "--dry-run",
        action="store_true",
        help="Print the settings, the plan and an estimate, and run nothing.",
    )
    add_devices(parser)
    add_force_disk(parser)
    parser.set_defaults(act=act)
    resuming = add_verb(
        verbs, "resume", "Go on with a run that stopped, by the settings it began with."
    )
    add_run(resuming)
    resuming.add_argument(
        "overrides",
        nargs="*",
        metavar="key=value",
        help="Change a setting that the run has not used yet, or that --redo uses anew.",
    )
    for each in (parser, resuming):
        _add_anew(each)
    add_force_disk(resuming)
    resuming.set_defaults(act=resume)


def _add_anew(parser: argparse.ArgumentParser) -> None:
    """Add the options that throw a part of a run away, to do it anew."""
    anew = parser.add_mutually_exclusive_group()
    anew.add_argument(
        "--redo",
        choices=tuple(REDOABLE),
        help="Throw away this stage of the round under way and what followed it, and do it "
        "anew. What was sampled before stays.",
    )
    anew.add_argument(
        "--retry-abstained",
        dest="redo",
        action="store_const",
        const="abstained",
        help="Ask the critic again for the answers of the round under way that could not be "
        "read, for example because its server was down, and do what followed anew. It may be "
        "repeated where it was stopped.",
    )


def resume(arguments: argparse.Namespace) -> int:
    """Go on with a run by its configuration, which holds the overrides that it began with."""
    settings = begun_with(arguments.run, arguments.overrides, output_dir=arguments.run)
    return _run(settings, again=arguments.redo, force_disk=arguments.force_disk)


def begun_with(run: Path, overrides: Sequence[str], *, output_dir: Path) -> config.Config:
    """Return the settings that a run was begun with, changed by overrides, for another folder."""
    require_run(run)
    rundir.refuse_tuning(run)
    from dualipo.store.run_reader import RunReader

    moved = [*overrides, f"output_dir={json.dumps(str(output_dir))}"]
    written = RunReader(run).written_settings
    return config.from_leaves(written, subject=str(run), overrides=moved)


def act(arguments: argparse.Namespace) -> int:
    """Run a recipe, or print what it would do; either is refused with all problems at once."""
    if arguments.recipe is None:
        raise ConfigError(
            "run: no recipe is named. Name a TOML file of your own, or one of those that ship, "
            f"e.g. `dualipo run recipes/quick.toml`:\n{recipes.overview()}"
        )
    settings, problems = config.examine(arguments.recipe, arguments.overrides)
    if not arguments.dry_run:
        refuse_devices(arguments)
        return _run(
            settings, problems=problems, again=arguments.redo, force_disk=arguments.force_disk
        )
    from dualipo.rounds import forecast, preflight

    print(forecast.text(settings, devices_of(arguments)), flush=True)
    preflight.require(settings, known=problems, force_disk=arguments.force_disk)
    print("\nNothing stands in the way.")
    return 0


def _run(
    settings: config.Config,
    *,
    problems: Sequence[DualipoError] = (),
    again: Again | None = None,
    force_disk: bool = False,
) -> int:
    """Run what can run to its end; print its needs, its results and where the report is."""
    rundir.refuse_busy(Path(settings.output_dir).expanduser())
    from dualipo.evaluation import summary

    # These import torch: only after the recipe could be read.
    from dualipo.rounds import bill, estimating, loop, preflight

    preflight.require(settings, known=problems, force_disk=force_disk, is_redone=again is not None)
    if not (Path(settings.output_dir) / rundir.MARKER).exists():
        print("\n".join([*estimating.lines(settings), *bill.lines(settings)]), flush=True)
    with watching() as progress:
        path = loop.run(settings, progress=progress, again=again)
    print(summary.table(path))
    print(f"\nThe report with clips and curves: {path / 'report.html'}")
    if settings.push_to_hub:
        _push(path, str(settings.hub_model_id))
    return 0


def _push(path: Path, repo: str) -> None:
    """Publish the run's generator; a Hub that fails is told and no error, as the run is done.

    That is fault 61.
    """
    from dualipo.evaluation.share import hub

    try:
        print(hub.push(hub.model_files(path), repo, kind="model", is_public=False))
    except DualipoError as refusal:
        print(f"dualipo: {refusal} Later: dualipo push model {path} {repo}", file=sys.stderr)
