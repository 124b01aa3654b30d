"""`dualipo run RECIPE [key=value ...]`: the whole method; the same command again resumes.

`dualipo resume RUN` does so by the run's own configuration, without the recipe.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from dualipo import config
from dualipo.cli.show import require_run
from dualipo.cli.terminal import watching
from dualipo.errors import DualipoError
from dualipo.store import atomic


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
        "--dry-run", action="store_true", help="print settings, plan and estimate, no more"
    )
    parser.set_defaults(act=act)
    again = verbs.add_parser("resume", help="go on with a run, by its own configuration")
    again.add_argument("run", type=Path, help="a run directory, e.g. runs/quick")
    again.set_defaults(act=resume)


def resume(arguments: argparse.Namespace) -> int:
    """Go on with a run; an override stands in its configuration already."""
    require_run(arguments.run)
    config_path = arguments.run / "config.json"
    here = [f"output_dir={json.dumps(str(arguments.run))}"]
    flat = atomic.read_json(config_path)
    return _run(config.from_leaves(flat, subject=str(config_path), overrides=here))


def act(arguments: argparse.Namespace) -> int:
    """Run, then print the results and where the report is."""
    settings = config.load(arguments.recipe, arguments.overrides)
    if arguments.dry_run:
        from dualipo.rounds import loop

        print(loop.plan_text(settings))
        return 0
    return _run(settings)


def _run(settings: config.Config) -> int:
    """Run; print what it will need, the table, and where the report is."""
    from dualipo.evaluation import summary
    from dualipo.evaluation.share import hub

    if settings.push_to_hub:
        hub.token()  # asked for now: after hours of work is too late
    # These import torch: only after the recipe is known to be good.
    from dualipo.rounds import estimating, loop

    if not (Path(settings.output_dir) / "config.json").exists():
        print("\n".join(estimating.lines(settings)), flush=True)
    with watching() as progress:
        path = loop.run(settings, progress=progress)
    print(summary.table(path))
    print(f"\nThe report with clips and curves: {path / 'report.html'}")
    if settings.push_to_hub:
        _push(path, str(settings.hub_model_id))
    return 0


def _push(path: Path, repo: str) -> None:
    """A Hub that is not there takes nothing from a run that is done (fault 61)."""
    from dualipo.evaluation.share import hub

    try:
        print(hub.push(hub.model_files(path), repo, kind="model", is_public=False))
    except DualipoError as refusal:
        print(f"dualipo: {refusal} Later: dualipo push model {path} {repo}", file=sys.stderr)
