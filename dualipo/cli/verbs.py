"""Declares verbs alike: a description in sentences, whose first one stands for it in lists."""

import argparse
from pathlib import Path
from typing import Any

MAX_PORT = 65535


def add_verb(
    verbs: Any, name: str, description: str, *, epilog: str | None = None
) -> argparse.ArgumentParser:
    """Add the parser of a verb, or of a part of one, and return it."""
    parser: argparse.ArgumentParser = verbs.add_parser(
        name,
        help=summary(description),
        description=description,
        epilog=epilog,
        allow_abbrev=False,
    )
    return parser


def summary(description: str | None) -> str:
    """Return the first sentence of a description."""
    first, stop, _ = (description or "").partition(". ")
    return f"{first}." if stop else first


def add_port(parser: Any, *, default: int) -> None:
    """Add the option that names the port of a page."""
    parser.add_argument(
        "--port",
        type=_port,
        default=default,
        help="The port of the page, 0 for any free one (default: %(default)s).",
    )


def _port(text: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text) > MAX_PORT:
        raise argparse.ArgumentTypeError(f"{text}: no port. Give a number from 0 to {MAX_PORT}.")
    return int(text)


def positive(text: str) -> int:
    """Return an option's whole number above 0; `argparse` tells of another text."""
    if not text.isascii() or not text.isdigit() or not int(text):
        raise argparse.ArgumentTypeError(f"{text}: no number of things. Give 1 or more.")
    return int(text)


def add_run(parser: argparse.ArgumentParser) -> None:
    """Add the argument that names a run."""
    parser.add_argument("run", type=Path, help="The folder of a run, e.g. runs/quick.")


def add_force_disk(parser: argparse.ArgumentParser) -> None:
    """Add the option that begins although the disk looks too small."""
    parser.add_argument(
        "--force-disk",
        action="store_true",
        help="Begin although the estimate says that the disk has too little room.",
    )
