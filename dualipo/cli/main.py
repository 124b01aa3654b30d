"""`dualipo VERB ...`: the command line.

Repeating a command resumes its run. An error meant for users is printed without a traceback and
ends with its exit code. A signal ends the program at a safe place with 128 + its number, and the
command that goes on is printed (fault 10). The verbs that need torch import it when they run.
"""

import argparse
import os
import shlex
import sys
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path

from dualipo.cli import (
    captions,
    compare,
    convert,
    cost,
    critic,
    dashboard,
    doctor,
    exporting,
    fork,
    importing,
    join,
    label,
    labels,
    plan,
    pretrain,
    push,
    quiet,
    run,
    settings,
    show,
    stage,
    study,
    track,
    tune,
    vbench,
)
from dualipo.cli.locale_free import require_utf8
from dualipo.cli.verbs import summary
from dualipo.errors import DualipoError
from dualipo.interrupt import Interrupted
from dualipo.store import atomic

MODULES = (
    *(
        doctor,
        settings,
        run,
        join,
        tune,
        fork,
        stage,
        show,
        compare,
        cost,
        plan,
        dashboard,
        critic,
        label,
    ),
    *(study, vbench, captions, importing, labels, exporting, push, track, convert, pretrain),
)
# How `dualipo --help` groups the verbs.
GROUPS: dict[str, tuple[str, ...]] = {
    "Run": (
        *("doctor", "settings", "run", "resume", "join", "fork", "tune"),
        *("sample", "judge", "prefer", "align", "evaluate", "refresh"),
    ),
    "Look": ("status", "report", "compare", "cost", "plan", "dashboard", "critic"),
    "Measure": ("vbench",),
    "People": ("label", "study"),
    "Exchange": ("captions", "import", "labels", "export", "push", "track"),
    "Models": ("convert", "pretrain"),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    if argv is None:
        require_utf8()
    quiet.prepare()
    given = sys.argv[1:] if argv is None else list(argv)
    arguments = parse(given)
    arguments.command = ["dualipo", *given]
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
        print(f"dualipo: {stop}. Nothing is lost. Go on with:\n  {again}", file=sys.stderr)
        return stop.exit_code
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # The reader (`| head`) has seen enough; Python would complain once more at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as failure:
        explained = atomic.explain(failure)
        print(f"dualipo: {explained}", file=sys.stderr)
        return explained.exit_code


def parse(given: Sequence[str]) -> argparse.Namespace:
    """Read a command line; overrides may stand before and behind the options."""
    parser = build_parser()
    if not given:
        parser.error("there is no verb. `dualipo --help` lists them.")
    arguments, rest = parser.parse_known_args(given)
    if rest:
        if "overrides" not in arguments or any(word.startswith("-") for word in rest):
            parser.error(f"unrecognized arguments: {' '.join(rest)}")
        arguments.overrides += rest
    return arguments


def build_parser() -> argparse.ArgumentParser:
    """Declare the verbs and their arguments."""
    parser = argparse.ArgumentParser(
        prog="dualipo",
        usage="dualipo [-h] VERB ...",
        description="Dual-IPO: post-train a text-to-video model and its critic in turns.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument(
        "--version", action="version", version=_version(), help="Print the version and exit."
    )
    # argparse cannot group verbs: its own list is suppressed, and the epilog holds ours.
    verbs = parser.add_subparsers(
        prog="dualipo", metavar="VERB", required=True, help=argparse.SUPPRESS
    )
    for module in MODULES:
        module.add(verbs)
    parser.epilog = _overview(verbs.choices)
    return parser


def _version() -> str:
    """Return the program's name with the version that is installed."""
    try:
        return f"dualipo {metadata.version('dualipo')}"
    except metadata.PackageNotFoundError:  # its folder is on the path, and was never installed
        return "dualipo, not installed"


def _overview(parsers: Mapping[str, argparse.ArgumentParser]) -> str:
    """Return the verbs by group, each with its sentence, and where to begin."""
    lines = []
    for group, names in GROUPS.items():
        lines += [f"{group}:", *(f"  {n:<11}{summary(parsers[n].description)}" for n in names), ""]
    begin = "Begin with `dualipo doctor`, then `dualipo run recipes/quick.toml`."
    return "\n".join([*lines, "`dualipo VERB --help` explains a verb.", begin])


if __name__ == "__main__":
    sys.exit(main())
