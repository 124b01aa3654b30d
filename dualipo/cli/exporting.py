"""`dualipo export FORMAT SOURCE OUTPUT`: labels, preferences and generators for other programs."""

import argparse
from pathlib import Path
from typing import Any

from dualipo.cli.show import require_run
from dualipo.errors import ConfigError

# The names of `preferences.exporters.export.FORMATS`, kept apart as that imports pyarrow.
FORMATS = ("native", "trl", "trl-kto", "videoalign", "videofolder", "label-studio")
PIPELINE = "pipeline"


def add(verbs: Any) -> None:
    """Declare the verb."""
    parser = verbs.add_parser(
        "export",
        help="write labels, preferences or a generator for other programs",
        description="Write a label set, a run's seed or a round's preferences with their clips; "
        f"or ({PIPELINE}) a run's generator as a folder that diffusers loads.",
        epilog="Formats and what they cannot keep: docs/FORMATS.md.",
        allow_abbrev=False,
    )
    names = (*FORMATS, PIPELINE)
    parser.add_argument("format", choices=names, metavar="FORMAT", help=", ".join(names))
    parser.add_argument(
        "source", type=Path, help="a label set, a run directory, or its labels.sqlite"
    )
    parser.add_argument("output", type=Path, help="a folder to make")
    parser.add_argument(
        "--round", type=int, help="of a run: that round's preferences (default: its seed labels)"
    )
    parser.add_argument(
        "--version", help=f"of a {PIPELINE}: e.g. g001.0 (default: the one that serves)"
    )
    parser.add_argument("--link", action="store_true", help="hard links instead of copies")
    parser.set_defaults(act=act)


def act(arguments: argparse.Namespace) -> int:
    """Export, and print what was lost on the way."""
    if arguments.format == PIPELINE:
        return _export_pipeline(arguments)
    if arguments.version is not None:
        raise ConfigError(f"--version: {arguments.format} is of labels. Leave it out.")
    from dualipo.preferences.exporters.export import export, read_source

    labels, store = read_source(arguments.source, round=arguments.round)
    outlet = export(arguments.format, labels, store, output=arguments.output, link=arguments.link)
    print(f"{arguments.output}: {arguments.format}\n{outlet.text()}")
    return 0


def _export_pipeline(arguments: argparse.Namespace) -> int:
    require_run(arguments.source)
    if arguments.round is not None:
        raise ConfigError("--round: a pipeline is of a version. Give --version, e.g. g001.0.")
    from dualipo.rounds import publishing

    version_id = publishing.export_pipeline(
        arguments.source, arguments.output, version_id=arguments.version, link=arguments.link
    )
    print(f"{arguments.output}: {version_id} as a pipeline; README.md in it says how to load it")
    return 0
