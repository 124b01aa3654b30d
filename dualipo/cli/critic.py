"""`dualipo critic check|accuracy|clips RUN`: may it be trusted, is it better than a baseline."""

import argparse
import json
from pathlib import Path
from typing import Any

from dualipo.cli.show import require_run
from dualipo.cli.terminal import watching

VERSION_HELP = "a version, e.g. shipped, sft, warm, c000.0; default: last"


def add(verbs: Any) -> None:
    """Declare the verb and its actions."""
    parser = verbs.add_parser("critic", help="check a run's critic, and compare it with baselines")
    actions = parser.add_subparsers(metavar="ACTION", required=True)
    checking = _action(
        actions,
        "check",
        "numbers, thresholds and verdicts on held-out pairs",
        "Check a critic on the pairs that the run held out of its seed. Ends with 1 if a check "
        "failed. The thresholds are those of the run's critic.check.",
    )
    checking.add_argument("--critic", help=VERSION_HELP)
    checking.set_defaults(act=check)
    comparing = _action(
        actions,
        "accuracy",
        "preference accuracy on held-out labels, beside reward models",
        "Compare critics with reward models on the labels that the run held out of its seed, by "
        "VideoAlign's calculation. Nothing is recorded in the run.",
    )
    comparing.add_argument("--critic", nargs="+", default=[], metavar="V", help=VERSION_HELP)
    comparing.add_argument(
        "--scores", type=Path, nargs="+", default=[], metavar="FILE", help="docs/FORMATS.md, scores"
    )
    comparing.add_argument(
        "--reward-head", action="store_true", help="train a reward head on the same seed"
    )
    comparing.add_argument("--output", type=Path, help="write the figures as JSON, too")
    comparing.set_defaults(act=compare)
    listing = _action(
        actions,
        "clips",
        "list a run's clips and captions, for a reward model to score",
        "Write the path and the caption of every clip of a run as CSV.",
    )
    listing.add_argument("--output", type=Path, required=True, help="the CSV to write")
    listing.add_argument("--unscored", type=Path, metavar="FILE", help="only what this file lacks")
    listing.set_defaults(act=list_clips)


def check(arguments: argparse.Namespace) -> int:
    """Check one version and print the table."""
    require_run(arguments.run)
    from dualipo.critic.trust import checks
    from dualipo.rounds import stages  # imports torch

    with watching() as progress:
        version, checked = stages.check_critic(arguments.run, arguments.critic, progress)
    print(f"critic {version}\n{checks.table(checked)}")
    return 0 if checked.passed else 1


def compare(arguments: argparse.Namespace) -> int:
    """Compare, print the table, and write the figures where asked."""
    require_run(arguments.run)
    from dualipo.rounds import comparing, stages  # imports torch

    with watching() as progress:
        num_labels, compared = stages.compare_critics(
            arguments.run,
            arguments.critic,
            arguments.scores,
            progress,
            with_reward_head=arguments.reward_head,
        )
    print(comparing.table(num_labels, compared))
    if arguments.output:
        figures = {"num_labels": num_labels, **compared}
        arguments.output.write_text(json.dumps(figures, indent=2) + "\n")
    return 0


def list_clips(arguments: argparse.Namespace) -> int:
    """Write the list and say how long it is."""
    require_run(arguments.run)
    from dualipo.rounds import stages  # imports torch

    with watching() as progress:
        num = stages.list_clips(arguments.run, arguments.output, arguments.unscored, progress)
    print(f"{arguments.output}: {num} clips")
    return 0


def _action(actions: Any, name: str, summary: str, description: str) -> argparse.ArgumentParser:
    made: argparse.ArgumentParser = actions.add_parser(
        name, help=summary, description=description, allow_abbrev=False
    )
    made.add_argument("run", type=Path, help="a run directory, e.g. runs/quick")
    return made
