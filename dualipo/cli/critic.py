"""`dualipo critic check | headroom | accuracy | clips RUN`: tells whether to trust a critic."""

import argparse
import json
from pathlib import Path
from typing import Any

from dualipo.cli.show import require_run
from dualipo.cli.terminal import watching
from dualipo.cli.verbs import add_run, add_verb

VERSION_HELP = "A version of the critic, e.g. shipped, sft, warm, c000.0 (default: the last one)."
NO_LABELS = (
    "No label says that A or B is better. A run asks for labels of fresh clips where "
    "monitor.num_audit_labels is above 0; for captions of your own set monitor.audit = "
    '"people", too.'
)


def add(verbs: Any) -> None:
    """Declare the verb and its actions."""
    parser = add_verb(
        verbs,
        "critic",
        "Check a run's critic, and compare it with reward models. Nothing is recorded in the run.",
    )
    actions = parser.add_subparsers(metavar="ACTION", required=True)
    checking = add_verb(
        actions,
        "check",
        "Check a critic on the pairs that the run held out of its seed. The thresholds are the "
        "settings critic.check of the run. The command ends with 1 if a check failed.",
    )
    checking.add_argument("--critic", metavar="VERSION", help=VERSION_HELP)
    comparing = add_verb(
        actions,
        "accuracy",
        "Measure the accuracy of critics and reward models on held-out labels. It is calculated as "
        "VideoAlign does, with ties and without.",
    )
    _add_compared(comparing)
    listing = add_verb(
        actions,
        "clips",
        "List the path and the caption of a run's clips, for a reward model to score.",
    )
    listing.add_argument("--output", type=Path, required=True, help="The CSV file to write.")
    listing.add_argument(
        "--unscored",
        type=Path,
        metavar="FILE",
        help="List only the clips that this file of scores does not have.",
    )
    for action, act in (
        (checking, check),
        (_add_reading(actions), show_headroom),
        (comparing, compare),
        (listing, list_clips),
    ):
        add_run(action)
        action.set_defaults(act=act)


def _add_reading(actions: Any) -> argparse.ArgumentParser:
    """Declare the action that says what a refresh may expect."""
    reading = add_verb(
        actions,
        "headroom",
        "Tell what a refresh of the critic may expect: how often one path, hard votes, soft votes "
        "and the forced choice agree with labels of the newest generator's clips, how much surer "
        "verdicts are better, and how many labels a reliable answer takes.",
    )
    reading.add_argument("--critic", metavar="VERSION", help=VERSION_HELP)
    reading.add_argument(
        "--round", type=int, metavar="R", help="The round whose clips to ask about (default: last)."
    )
    return reading


def _add_compared(parser: argparse.ArgumentParser) -> None:
    """Add the options that say what is compared."""
    parser.add_argument("--critic", nargs="+", default=[], metavar="VERSION", help=VERSION_HELP)
    parser.add_argument(
        "--scores",
        type=Path,
        nargs="+",
        default=[],
        metavar="FILE",
        help="A file of scores that another model gave (docs/FORMATS.md describes it).",
    )
    parser.add_argument(
        "--reward-head", action="store_true", help="Train a reward head on the same seed, too."
    )
    parser.add_argument("--output", type=Path, help="A JSON file to write the figures to.")


def check(arguments: argparse.Namespace) -> int:
    """Check one version and print the table."""
    require_run(arguments.run)
    from dualipo.critic.trust import checks
    from dualipo.rounds import commands  # imports torch

    with watching() as progress:
        version, checked = commands.check_critic(arguments.run, arguments.critic, progress)
    print(f"critic {version}, on {checked.num_pairs} held-out pairs\n{checks.table(checked)}")
    return 0 if checked.passed else 1


def show_headroom(arguments: argparse.Namespace) -> int:
    """Print the readings of each kind of labels, and what they mean for a refresh."""
    require_run(arguments.run)
    from dualipo.evaluation import headroom
    from dualipo.rounds import commands  # imports torch

    with watching() as progress:
        version, measured, margin = commands.measure_headroom(
            arguments.run, arguments.critic, arguments.round, progress
        )
    print(f"critic {version}")
    for part in measured:
        print(f"\n{part.title}")
        if not part.judged:
            print(NO_LABELS)
            continue
        print(headroom.table(part.judged))
        print("\n".join(headroom.expectation(part.judged, margin=margin)))
    return 0


def compare(arguments: argparse.Namespace) -> int:
    """Compare the critics, print the table, and write the figures if asked to."""
    require_run(arguments.run)
    from dualipo.rounds import commands, comparing  # imports torch

    with watching() as progress:
        num_labels, compared = commands.compare_critics(
            arguments.run,
            arguments.critic,
            arguments.scores,
            progress,
            with_reward_head=arguments.reward_head,
        )
    from dualipo.store.run_reader import RunReader

    names = RunReader(arguments.run).questions.names
    print(comparing.table(num_labels, compared, dimensions=names))
    if arguments.output:
        figures = {"num_labels": num_labels, **compared}
        arguments.output.write_text(json.dumps(figures, indent=2) + "\n")
    return 0


def list_clips(arguments: argparse.Namespace) -> int:
    """Write the list of clips, and print how long it is."""
    require_run(arguments.run)
    from dualipo.rounds import commands  # imports torch

    with watching() as progress:
        num = commands.list_clips(arguments.run, arguments.output, arguments.unscored, progress)
    print(f"{arguments.output}: {num} clips")
    return 0
