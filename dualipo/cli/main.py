"""`dualipo VERB ...`: the command line.

Repeating a command resumes its run. An error meant for users is printed without a traceback and
ends with its exit code; a signal ends at a safe place with 128 + its number and the command that
goes on (fault 10). torch is imported by the verbs that need it, when they run.
"""

import argparse
import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from dualipo.cli import (
    convert,
    critic,
    dashboard,
    doctor,
    exporting,
    fork,
    importing,
    label,
    pretrain,
    push,
    quiet,
    run,
    show,
    stage,
    study,
    track,
)
from dualipo.errors import DualipoError
from dualipo.interrupt import Interrupted

VERBS = (
    run,
    fork,
    show,
    stage,
    dashboard,
    label,
    study,
    critic,
    doctor,
    importing,
    exporting,
    push,
    track,
    convert,
    pretrain,
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    given = sys.argv[1:] if argv is None else list(argv)
    arguments = parse(given)
    quiet.prepare()
    try:
        code: int = arguments.act(arguments)
        sys.stdout.flush()
        return code
    except DualipoError as error:
        print(f"dualipo: {error}", file=sys.stderr)
        return error.exit_code
    except Interrupted as stop:
        program = Path(sys.argv[0])
        again = shlex.join([str(program) if program.name == "dualipo" else "dualipo", *given])
        print(f"dualipo: {stop}. Nothing is lost; go on with:\n  {again}", file=sys.stderr)
        return stop.exit_code
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # The reader (`| head`) has seen enough; Python would complain once more at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def parse(given: Sequence[str]) -> argparse.Namespace:
    """Read a command line; overrides may stand before and behind the options."""
    parser = build_parser()
    arguments, rest = parser.parse_known_args(given)
    if rest:
        if "overrides" not in arguments or any(each.startswith("-") for each in rest):
            parser.error(f"unrecognized arguments: {' '.join(rest)}")
        arguments.overrides += rest
    return arguments


def build_parser() -> argparse.ArgumentParser:
    """The verbs and their arguments."""
    parser = argparse.ArgumentParser(
        prog="dualipo",
        description="Dual-IPO: post-train a text-to-video model and its critic in turns.",
        epilog="Begin with `dualipo doctor`, then `dualipo run recipes/quick.toml`.",
        allow_abbrev=False,
    )
    verbs = parser.add_subparsers(metavar="VERB", required=True)
    for module in VERBS:
        module.add(verbs)
    return parser


if __name__ == "__main__":
    sys.exit(main())
