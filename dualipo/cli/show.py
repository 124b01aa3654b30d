"""`dualipo status RUN` and `dualipo report RUN`: read a run, also while it is under way."""

import argparse
import json
from pathlib import Path
from typing import Any

from dualipo.cli.verbs import add_run, add_verb
from dualipo.errors import StorageError
from dualipo.store import atomic, rundir


def add(verbs: Any) -> None:
    """Declare `status` and `report`."""
    status = add_verb(verbs, "status", "Print how far a run is and what it has measured.")
    add_run(status)
    status.add_argument("--json", action="store_true", help="Print the same figures as JSON.")
    status.set_defaults(act=show_status)
    report = add_verb(verbs, "report", "Write a run's report.html anew.")
    add_run(report)
    report.add_argument(
        "--output", type=Path, help="The file to write (default: report.html in the run)."
    )
    report.set_defaults(act=write_report)


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

    path = arguments.output or arguments.run / "report.html"
    try:
        atomic.write_text(path, report_page.build(arguments.run))
    except StorageError as refusal:
        elsewhere = "--output writes the report elsewhere."
        raise StorageError(
            f"{refusal} {elsewhere}" if not arguments.output else str(refusal)
        ) from None
    print(path)
    return 0


def require_run(path: Path) -> None:
    """Raise ConfigError for a folder in which no run was begun."""
    rundir.require_run(path)
