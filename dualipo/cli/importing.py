"""`dualipo import FORMAT FILE ... --output LABELS`: other people's labels become a label set."""

import argparse
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, get_args

from rich.console import Console
from rich.progress import Progress, TextColumn, TimeElapsedColumn

from dualipo.records import DIMENSIONS, Source

# The names of `preferences.importers.formats.FORMATS`, kept apart as that imports pyarrow.
FORMATS = (
    *("native", "trl", "trl-kto", "videoalign", "visionreward", "videofeedback", "videodpo"),
    *("hpdv3", "pickapic", "diffusion-kto", "lift", "label-studio"),
)


def add(verbs: Any) -> None:
    """Declare the verb."""
    parser = verbs.add_parser(
        "import",
        help="read a preference data set into a label set",
        description="Read labels and their clips into a folder that seed_labels.path can name. "
        "All rows fit or nothing is imported; importing again adds nothing. Nothing is fetched.",
        epilog="Formats and what becomes of their columns: docs/FORMATS.md.",
        allow_abbrev=False,
    )
    parser.add_argument("format", choices=FORMATS, metavar="FORMAT", help=", ".join(FORMATS))
    parser.add_argument(
        "files", type=Path, nargs="+", metavar="FILE", help="csv, json, jsonl or parquet"
    )
    parser.add_argument("--output", type=Path, required=True, help="the label set to add to")
    parser.add_argument(
        "--root", type=Path, help="where the clips' paths start (default: the first file's folder)"
    )
    parser.add_argument("--dry-run", action="store_true", help="report, and change nothing")
    parser.add_argument(
        "--lenient", action="store_true", help="take the rows that fit, and list the others"
    )
    parser.add_argument("--link", action="store_true", help="hard links instead of copies")
    parser.add_argument(
        "--source", choices=get_args(Source), help="who judged, where the file does not say"
    )
    parser.add_argument("--annotator", default="", help="a name (default: the format's)")
    parser.add_argument(
        "--dimension",
        choices=(*DIMENSIONS, "overall"),
        default="overall",
        help="what was judged, where the file does not say (default: overall)",
    )
    parser.add_argument(
        "--strip-prefix", default="", help="what to cut from the front of every clip's path"
    )
    parser.set_defaults(act=act)


def act(arguments: argparse.Namespace) -> int:
    """Import, and print what became of the rows."""
    from dualipo.preferences.importers.load import Options, load
    from dualipo.preferences.importers.row import Settings

    options = Options(
        settings=Settings(arguments.source, arguments.annotator, arguments.dimension),
        lenient=arguments.lenient,
        dry_run=arguments.dry_run,
        link=arguments.link,
        strip_prefix=arguments.strip_prefix,
    )
    with _counting() as on_row:
        report = load(
            arguments.format,
            arguments.files,
            root=arguments.root or arguments.files[0].parent,
            output=arguments.output,
            options=options,
            on_row=on_row,
        )
    print(report.text())
    if not arguments.dry_run:
        print(f'\n{arguments.output}: name it in a recipe as seed_labels.path = "..."')
    return 0


@contextmanager
def _counting() -> Iterator[Callable[[], None]]:
    """Rows so far, on a terminal; how many there will be is not known."""
    columns = (TextColumn("{task.completed} rows"), TimeElapsedColumn())
    console = Console(stderr=True)
    with Progress(
        *columns, console=console, transient=True, disable=not sys.stderr.isatty()
    ) as bar:
        task = bar.add_task("", total=None)
        yield lambda: bar.advance(task)
