"""`dualipo compare OUT1 OUT2 ...`: one page that sets runs or tunings side by side."""

import argparse
from pathlib import Path
from typing import Any

from dualipo.cli.show import require_run
from dualipo.cli.verbs import add_verb
from dualipo.errors import ConfigError
from dualipo.store import atomic


def add(verbs: Any) -> None:
    """Declare the verb."""
    parser = add_verb(
        verbs,
        "compare",
        "Write a page that sets runs or tunings side by side. It shows the settings that differ, "
        "the curves, the figures, and clips of the same captions and seeds.",
    )
    parser.add_argument("runs", type=Path, nargs="+", help="The folders of runs or tunings.")
    parser.add_argument(
        "--output", type=Path, default=Path("compare.html"), help="The page (default: %(default)s)."
    )
    parser.set_defaults(act=act)


def act(arguments: argparse.Namespace) -> int:
    """Write the page and print its path."""
    if len({path.resolve() for path in arguments.runs}) < 2:
        raise ConfigError("compare: it takes two or more different folders. Name another one.")
    for path in arguments.runs:
        require_run(path)
    from dualipo.evaluation.report import compare_page

    atomic.write_text(arguments.output, compare_page.build(arguments.runs))
    print(arguments.output)
    return 0
