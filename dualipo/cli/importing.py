"""`dualipo import FORMAT FILE ... --output LABELS`: other people's labels become a label set."""

import argparse
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from dualipo.cli.terminal import counting_rows
from dualipo.cli.verbs import add_verb
from dualipo.config.questions import read as read_questions
from dualipo.errors import ConfigError, DataError
from dualipo.records import OVERALL, Source

if TYPE_CHECKING:
    from dualipo.preferences.importers.load import Options

# The names in `preferences.importers.formats.FORMATS`, repeated because that imports pyarrow.
FORMATS = (
    *("native", "trl", "trl-kto", "videoalign", "visionreward", "videofeedback", "videodpo"),
    *("hpdv3", "pickapic", "diffusion-kto", "lift", "videofolder", "chosen-rejected"),
    *("flow-factory", "simpletuner", "winner-loser", "rapidata", "genai-bench", "mj-video"),
    *("unified-reward", "videoscore2", "hpdv2", "imagereward", "table", "label-studio"),
)


def add(verbs: Any) -> None:
    """Declare the verb."""
    parser = add_verb(
        verbs,
        "import",
        "Read a preference data set into a label set. A recipe names the label set as "
        "seed_labels.path. If one row does not fit, nothing is imported. Importing the same file "
        "again adds nothing. Nothing is downloaded.",
        epilog="docs/FORMATS.md describes the formats and what becomes of their columns.",
    )
    parser.add_argument(
        "format", choices=FORMATS, metavar="FORMAT", help=f"One of: {', '.join(FORMATS)}."
    )
    parser.add_argument(
        "files",
        type=Path,
        nargs="+",
        metavar="FILE",
        help="A csv, json, jsonl or parquet file, or the folder of a videofolder.",
    )
    parser.add_argument("--output", type=Path, required=True, help="The label set to add to.")
    parser.add_argument(
        "--dry-run",
        action="store_true",
        help="Report and change nothing; end with the exit code that the import would have.",
    )
    parser.add_argument(
        "--strict", action="store_true", help="Refuse rows with columns that the format lacks."
    )
    parser.add_argument("--images", action="store_true", help="Take images as clips of one frame.")
    add_reading(parser)
    parser.set_defaults(act=act)


def add_reading(parser: argparse.ArgumentParser) -> None:
    """Add the options of any import, among them those that say what the file does not say."""
    parser.add_argument(
        "--lenient", action="store_true", help="Import the rows that fit, and list the others."
    )
    parser.add_argument("--link", action="store_true", help="Make hard links instead of copies.")
    reading = parser.add_argument_group("what the file does not say")
    reading.add_argument(
        "--root",
        type=Path,
        help="The folder in which the clips' paths start (default: the first file's folder).",
    )
    reading.add_argument(
        "--strip-prefix", default="", help="The text to cut from the start of every clip's path."
    )
    reading.add_argument(
        "--source", choices=get_args(Source), help="Whether people, a program or a critic judged."
    )
    reading.add_argument(
        "--annotator", default="", help="The name of the annotator (default: the format's name)."
    )
    _add_dimension(reading)
    reading.add_argument(
        "--map",
        type=_pairs,
        default={},
        metavar="NAME=COLUMN,...",
        help="The file's columns for names of the format, e.g. caption=text,a=left,b=right.",
    )
    reading.add_argument(
        "--words",
        type=_pairs,
        default={},
        metavar="WORD=MEANING,...",
        help="What the file's words mean, e.g. first=a,second=b,equal=tie or 1=good,0=bad.",
    )


def _add_dimension(reading: "argparse._ArgumentGroup") -> None:
    """Add the options on what the labels are about."""
    reading.add_argument(
        "--dimension",
        metavar="NAME",
        default=OVERALL,
        help="The dimension that was judged (default: %(default)s).",
    )
    reading.add_argument(
        "--questions",
        default="world",
        metavar="FILE",
        help="The questions whose dimensions the labels are about, as in critic.questions.",
    )


def root_of(file: Path) -> Path:
    """Return the folder in which the clips' paths start by default."""
    return file if file.is_dir() else file.parent


def _pairs(given: str) -> dict[str, str]:
    """Read `name=value,...` from the command line."""
    parts = [part.partition("=") for part in given.split(",")]
    if not all(name and value for name, _, value in parts):
        raise argparse.ArgumentTypeError(f"{given!r} is not NAME=VALUE,NAME=VALUE")
    return {name.strip(): value.strip() for name, _, value in parts}


def reading_options(arguments: argparse.Namespace) -> "Options":
    """Return the options that `add_reading` added."""
    from dualipo.preferences.importers.load import Options
    from dualipo.preferences.importers.row import Settings

    who = arguments.source, arguments.annotator
    try:
        names = read_questions(arguments.questions).names
    except ValueError as wrong:
        raise ConfigError(f"--questions: {wrong}.") from None
    if arguments.dimension not in (*names, OVERALL):
        known = ", ".join((*names, OVERALL))
        raise ConfigError(
            f"--dimension: {arguments.dimension!r} is none of {known}. Choose one of them, or name "
            "the file of your own questions with --questions."
        )
    said = Settings(*who, arguments.dimension, names, columns=arguments.map, words=arguments.words)
    lenient, link = arguments.lenient, arguments.link
    return Options(said, lenient=lenient, link=link, strip_prefix=arguments.strip_prefix)


def act(arguments: argparse.Namespace) -> int:
    """Import the files, and print what became of their rows."""
    from dualipo.preferences.importers.load import import_labels

    checks = {name: getattr(arguments, name) for name in ("strict", "images", "dry_run")}
    options = replace(reading_options(arguments), **checks)
    with counting_rows() as on_row:
        report = import_labels(
            arguments.format,
            arguments.files,
            root=arguments.root or root_of(arguments.files[0]),
            output=arguments.output,
            options=options,
            on_row=on_row,
        )
    print(report.text())
    if report.objection:
        raise DataError(report.objection)
    if not arguments.dry_run:
        print(f'\nName it in a recipe as seed_labels.path = "{arguments.output}".')
    return 0
