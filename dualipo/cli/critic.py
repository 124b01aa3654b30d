"""`dualipo critic check RUN`: may this critic be trusted? Numbers, thresholds and verdicts."""

import argparse
from pathlib import Path
from typing import Any

from dualipo.cli.show import require_run
from dualipo.cli.terminal import watching


def add(verbs: Any) -> None:
    """Declare the verb and its only action."""
    parser = verbs.add_parser("critic", help="check whether a run's critic can be trusted")
    actions = parser.add_subparsers(metavar="ACTION", required=True)
    check = actions.add_parser(
        "check",
        help="numbers, thresholds and verdicts on held-out pairs",
        description="Check a critic on the pairs that the run held out of its seed. Ends with 1 "
        "if a check failed. The thresholds are those of the run's critic.check.",
        allow_abbrev=False,
    )
    check.add_argument("run", type=Path, help="a run directory, e.g. runs/quick")
    check.add_argument("--critic", help="a version, e.g. shipped, sft, warm, c000.0; default: last")
    check.set_defaults(act=act)


def act(arguments: argparse.Namespace) -> int:
    """Check one version and print the table."""
    require_run(arguments.run)
    from dualipo.critic import checks
    from dualipo.rounds import stages  # imports torch

    with watching() as progress:
        version, checked = stages.check_critic(arguments.run, arguments.critic, progress)
    print(f"critic {version}\n{checks.table(checked)}")
    return 0 if checked.passed else 1
