"""`dualipo export FORMAT SOURCE OUTPUT`: labels and preferences for other programs."""

import argparse
from pathlib import Path
from typing import Any

# The names of `preferences.exporters.export.FORMATS`, kept apart as that imports pyarrow.
FORMATS = ("native", "trl", "trl-kto", "videoalign", "videofolder", "label-studio")


def add(verbs: Any) -> None:
    """Declare the verb."""
    parser = verbs.add_parser(
        "export",
        help="write labels or preferences for other programs",
        description="Write a label set, a run's seed or a round's preferences with their clips.",
        epilog="Formats and what they cannot keep: docs/FORMATS.md.",
        allow_abbrev=False,
    )
    parser.add_argument("format", choices=FORMATS, metavar="FORMAT", help=", ".join(FORMATS))
    parser.add_argument(
        "source", type=Path, help="a label set, a run directory, or its labels.sqlite"
    )
    parser.add_argument("output", type=Path, help="a folder to make")
    parser.add_argument(
        "--round", type=int, help="of a run: that round's preferences (default: its seed labels)"
    )
    parser.add_argument("--link", action="store_true", help="hard links instead of copies")
    parser.set_defaults(act=act)


def act(arguments: argparse.Namespace) -> int:
    """Export, and print what was lost on the way."""
    from dualipo.preferences.exporters.export import export, read_source

    labels, store = read_source(arguments.source, round=arguments.round)
    outlet = export(arguments.format, labels, store, output=arguments.output, link=arguments.link)
    print(f"{arguments.output}: {arguments.format}\n{outlet.text()}")
    return 0
