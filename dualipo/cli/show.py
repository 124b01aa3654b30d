"""`dualipo status RUN` and `dualipo report RUN`: read a run, also while it is under way."""

import argparse
import json
from pathlib import Path
from typing import Any

from dualipo.errors import ConfigError
from dualipo.store import atomic


def add(verbs: Any) -> None:
    """Declare both verbs."""
    status = verbs.add_parser("status", help="print how far a run is and what it has found")
    report_page = verbs.add_parser("report", help="write a run's report.html anew")
    for parser, act in ((status, show_status), (report_page, write_report)):
        parser.add_argument("run", type=Path, help="a run directory, e.g. runs/quick")
        parser.set_defaults(act=act)
    status.add_argument("--json", action="store_true", help="the same figures as JSON")


def show_status(arguments: argparse.Namespace) -> int:
    """Print the table of rounds."""
    require_run(arguments.run)
    from dualipo.evaluation import summary

    if arguments.json:
        print(json.dumps(summary.as_dict(arguments.run), indent=2))
    else:
        print(summary.table(arguments.run))
    return 0


def write_report(arguments: argparse.Namespace) -> int:
    """Build the report from the ledger and publish it."""
    require_run(arguments.run)
    from dualipo.evaluation.report import report_page

    path = arguments.run / "report.html"
    atomic.write_text(path, report_page.build(arguments.run))
    print(path)
    return 0


def require_run(path: Path) -> None:
    """Refuse a folder that no run was begun in."""
    if not (path / "run.json").is_file():
        raise ConfigError(
            f"{path}: no run here (it has no run.json). Give the run's folder, the recipe's "
            "output_dir, or begin one with `dualipo run RECIPE`."
        )
