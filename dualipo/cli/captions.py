"""`dualipo captions compose | expand | screen | count`: captions by the million."""

import argparse
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from dualipo import interrupt
from dualipo.cli.terminal import counting_rows
from dualipo.cli.verbs import add_verb
from dualipo.config import Server
from dualipo.errors import ConfigError

_FILE = "A folder of parquet shards, or a parquet, CSV, JSON, JSON Lines or text file of captions."


def add(verbs: Any) -> None:
    """Declare the verb and its actions."""
    parser = add_verb(
        verbs,
        "captions",
        "Make, screen and count the captions that runs draw from. A recipe names what comes out as "
        "prompts.path.",
        epilog="docs/captions.md explains the elements, the rules and the files.",
    )
    actions = parser.add_subparsers(metavar="ACTION", required=True)
    for declare in (_add_compose, _add_expand, _add_screen, _add_count):
        declare(actions)


def _add_compose(actions: Any) -> None:
    parser = add_verb(
        actions,
        "compose",
        "Compose captions of elements: who does what, where, in which light, how it is filmed. "
        "Repeating the command writes the shards that are missing.",
    )
    parser.add_argument("output", type=Path, help="The folder to fill.")
    parser.add_argument("--num", type=int, default=1_000_000, help="Default: %(default)s.")
    parser.add_argument(
        "--seed", type=int, default=0, help="The same seed gives the same captions (default: 0)."
    )
    parser.add_argument(
        "--share",
        nargs="+",
        metavar="CATEGORY=PART",
        help="The parts of the categories, e.g. human=3 animal=1 (default: all alike).",
    )
    parser.add_argument(
        "--elements", type=Path, metavar="FOLDER", help="Your own lists instead of those that ship."
    )
    parser.add_argument(
        "--rows-per-shard", type=int, default=50_000, help="Rows of a file (default: %(default)s)."
    )
    parser.set_defaults(act=compose)


def _add_expand(actions: Any) -> None:
    parser = add_verb(
        actions,
        "expand",
        "Expand captions by a language model to the length that a generator was trained on. "
        "Repeating the command writes the shards that are missing.",
    )
    parser.add_argument("source", type=Path, help=_FILE)
    parser.add_argument("output", type=Path, help="The folder to fill.")
    parser.add_argument("--model", required=True, help="The name of the served model.")
    parser.add_argument(
        "--style",
        required=True,
        help="How captions are written: cogvideox, wan, or a TOML file of yours.",
    )
    parser.add_argument(
        "--seed", type=int, default=0, help="Sent with every request (default: %(default)s)."
    )
    parser.add_argument(
        "--per-request", type=int, default=8, help="Captions of a request (default: %(default)s)."
    )
    parser.add_argument(
        "--rows-per-shard", type=int, default=1000, help="Rows of a file (default: %(default)s)."
    )
    server = parser.add_argument_group("the OpenAI-compatible server")
    for name, field in Server.model_fields.items():
        server.add_argument(
            f"--{name.replace('_', '-')}",
            type=type(field.default),
            default=field.default,
            help=f"{(field.description or '').removesuffix('.')} (default: %(default)s).",
        )
    parser.set_defaults(act=expand)


def _add_screen(actions: Any) -> None:
    parser = add_verb(
        actions,
        "screen",
        "Drop captions that are broken, foreign, repeated or evaluation prompts, and say why.",
    )
    parser.add_argument("source", type=Path, help=_FILE)
    parser.add_argument("output", type=Path, help="The folder to fill with the captions that pass.")
    parser.add_argument(
        "--against",
        type=Path,
        nargs="+",
        default=[],
        metavar="FILE",
        help="Evaluation prompts that no caption may overlap with, e.g. VBench_full_info.json.",
    )
    parser.add_argument(
        "--tokenizer",
        type=Path,
        metavar="FOLDER",
        help="The generator's folder, or its tokenizer's, to count tokens for --max-tokens.",
    )
    parser.add_argument(
        "--max-tokens",
        type=int,
        help="Drop longer captions, which the generator would cut: generator.max_sequence_length.",
    )
    parser.add_argument(
        "--near-copies",
        type=float,
        default=0.8,
        metavar="SIMILARITY",
        help="Drop near-copies from this similarity on; 1 keeps all but repeats (default: 0.8).",
    )
    _add_rules(parser)
    parser.set_defaults(act=screen)


def _add_rules(parser: argparse.ArgumentParser) -> None:
    """Add the options about single captions."""
    rules = parser.add_argument_group("what a caption may be")
    rules.add_argument(
        "--language",
        default="en",
        help="The language of captions, e.g. de, or any (default: %(default)s).",
    )
    rules.add_argument(
        "--scripts",
        nargs="+",
        default=["latin"],
        metavar="SCRIPT",
        help="The scripts that the generator knows, e.g. latin cjk arabic (default: latin).",
    )
    rules.add_argument("--min-words", type=int, default=1, help="Default: %(default)s.")
    rules.add_argument("--max-words", type=int, help="Default: any number.")
    rules.add_argument(
        "--words",
        type=Path,
        metavar="FILE",
        help="A text file of words and phrases, one a line, that no caption may have.",
    )


def _add_count(actions: Any) -> None:
    parser = add_verb(
        actions, "count", "Count captions by category, source and length, and count the repeats."
    )
    parser.add_argument("source", type=Path, help=_FILE)
    parser.add_argument("--json", action="store_true", help="Print the numbers as JSON.")
    parser.set_defaults(act=count)


def compose(arguments: argparse.Namespace) -> int:
    """Compose the shards that are missing, and print where they are."""
    from dualipo.prompts import elements
    from dualipo.prompts.compose import Order, compose

    if min(arguments.num, arguments.rows_per_shard) < 1:
        raise ConfigError("--num and --rows-per-shard: under 1. Give at least 1.")
    order = Order(
        num=arguments.num,
        seed=arguments.seed,
        rows_per_shard=arguments.rows_per_shard,
        shares=_shares(arguments.share) if arguments.share else None,
    )
    lists = elements.load(arguments.elements or elements.SHIPPED)
    with _counting() as on_rows:
        num = compose(arguments.output, order, lists, on_shard=on_rows)
    print(f"{arguments.output}: {num:,} captions. `dualipo captions screen` finds repeats.")
    return 0


def expand(arguments: argparse.Namespace) -> int:
    """Expand the shards that are missing, and print what became of all captions."""
    from dualipo.prompts.expand import Settings, expand, load_style

    if min(arguments.per_request, arguments.rows_per_shard) < 1:
        raise ConfigError("--per-request and --rows-per-shard: under 1. Give at least 1.")
    settings = Settings(
        model=arguments.model,
        style=load_style(arguments.style),
        per_request=arguments.per_request,
        rows_per_shard=arguments.rows_per_shard,
        seed=arguments.seed,
    )
    server = _server(arguments)
    with _counting() as on_rows:
        report = expand(arguments.source, arguments.output, server, settings, on_rows=on_rows)
    print(f"{arguments.output}:\n{report.text()}")
    return 0


def screen(arguments: argparse.Namespace) -> int:
    """Screen captions, and print what was dropped and why."""
    from dualipo.prompts.rules import Wanted
    from dualipo.prompts.screen import Settings, screen

    if (arguments.tokenizer is None) != (arguments.max_tokens is None):
        raise ConfigError("--tokenizer and --max-tokens: only one is given. Give both or neither.")
    if not 0.5 <= arguments.near_copies <= 1:
        raise ConfigError("--near-copies: a similarity is from 0.5 to 1.")
    settings = Settings(
        wanted=Wanted(
            scripts=tuple(script.lower() for script in arguments.scripts),
            language=None if arguments.language == "any" else arguments.language,
            min_words=arguments.min_words,
            max_words=arguments.max_words,
            words=_lines(arguments.words) if arguments.words else (),
        ),
        tokenizer=arguments.tokenizer,
        max_tokens=arguments.max_tokens,
        against=tuple(arguments.against),
        near_copies=arguments.near_copies if arguments.near_copies < 1 else None,
    )
    with _counting() as on_rows:
        report = screen(arguments.source, arguments.output, settings, on_batch=on_rows)
    print(report.text())
    print(f'\nName it in a recipe as prompts.source = "file", prompts.path = "{arguments.output}".')
    return 0


def count(arguments: argparse.Namespace) -> int:
    """Count captions and print the numbers."""
    from dualipo.prompts.count import count

    counts = count(arguments.source)
    if arguments.json:
        print(json.dumps(asdict(counts) | {"num_repeats": counts.num_repeats}, indent=2))
    else:
        print(counts.text())
    return 0


def _server(arguments: argparse.Namespace) -> Server:
    try:
        return Server(**{name: getattr(arguments, name) for name in Server.model_fields})
    except ValidationError as error:
        first = error.errors()[0]
        option = f"--{str(first['loc'][0]).replace('_', '-')}"
        raise ConfigError(
            f"{option}: {first['msg'].removeprefix('Value error, ')}. Give another value."
        ) from None


def _shares(words: Sequence[str]) -> dict[str, float]:
    shares = {}
    for word in words:
        name, _, part = word.partition("=")
        try:
            shares[name] = float(part)
        except ValueError:
            raise ConfigError(f"--share {word}: no part. Write it as human=2.") from None
    return shares


def _lines(path: Path) -> tuple[str, ...]:
    from dualipo.prompts.corpus import read_captions

    return tuple(read_captions(path).captions)


@contextmanager
def _counting() -> Iterator[Callable[[int], None]]:
    """Count rows on a terminal, and let a signal end the command between two shards."""
    interrupt.install()
    with counting_rows() as advance:
        yield advance
