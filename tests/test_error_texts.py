"""Every remedy that a text of the program names is possible: its settings and commands are there.

The texts are the strings of the source, without docstrings. A setting whose name a program puts
together is left out, as are the options of other programs.
"""

import argparse
import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from dualipo import config
from dualipo.cli.main import build_parser
from dualipo.config import leaves
from dualipo.config.reading import RETIRED

PACKAGE = Path(__file__).parents[1] / "dualipo"
HOLE = "\0"  # where an f-string holds a value
KEYS = {*leaves(config.Config())}
GROUPS = {key.rpartition(".")[0] for key in KEYS if "." in key}
SECTIONS = "|".join(sorted({key.partition(".")[0] for key in GROUPS}))
KEY = re.compile(rf"(?<![\w./`\0-])(?:{SECTIONS})(?:\.[a-z_0-9]+)+(?![\w.\0/(]|\.\w)")
FILES = (".json", ".parquet")  # prompts.json is a file
# Options of hf, torchrun and ray.
OTHERS = {"--local-dir", "--standalone", "--nproc-per-node", "--max-restarts", "--head"}
OTHERS |= {"--nnodes", "--node-rank", "--master-addr", "--master-port"}

Texts = list[tuple[str, str]]
Parsers = dict[str, argparse.ArgumentParser]


@pytest.fixture(scope="module")
def texts() -> Texts:
    """Read every string of the source that is no docstring, with its file and line."""
    return [text for path in sorted(PACKAGE.rglob("*.py")) for text in texts_of(path)]


@pytest.fixture(scope="module")
def parsers() -> Parsers:
    """Return what reads a command, by the words that follow `dualipo`."""
    return dict(parsers_below("", build_parser()))


def texts_of(path: Path) -> Iterator[tuple[str, str]]:
    nodes = list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))
    passed: set[ast.AST] = set()  # docstrings, and the parts of f-strings
    for node in nodes:
        if isinstance(node, ast.Expr):
            passed.add(node.value)
        elif isinstance(node, ast.JoinedStr):
            passed |= {*node.values}
    for node in nodes:
        if node in passed or not isinstance(node, (ast.JoinedStr, ast.Constant)):
            continue
        parts = node.values if isinstance(node, ast.JoinedStr) else [node]
        values = [part.value if isinstance(part, ast.Constant) else None for part in parts]
        text = "".join(value if isinstance(value, str) else HOLE for value in values)
        yield f"{path.relative_to(PACKAGE)}:{node.lineno}", text


def parsers_below(
    words: str, parser: argparse.ArgumentParser
) -> Iterator[tuple[str, argparse.ArgumentParser]]:
    yield words, parser
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for name, child in action.choices.items():
                yield from parsers_below(f"{words} {name}".strip(), child)


def options_of(parser: argparse.ArgumentParser) -> set[str]:
    return {option for action in parser._actions for option in action.option_strings}


def test_settings_that_texts_name_are_there(texts: Texts) -> None:
    named = {(key, where) for where, text in texts for key in KEY.findall(text)}
    assert len(named) > 200, "the pattern finds no settings"
    known = KEYS | GROUPS | {*RETIRED}
    unknown = {(key, where) for key, where in named if key not in known}
    assert not {(key, where) for key, where in unknown if not key.endswith(FILES)}


def test_commands_that_texts_name_are_there_with_their_options(
    texts: Texts, parsers: Parsers
) -> None:
    known = OTHERS.union(*map(options_of, parsers.values()))
    num_given = 0
    for where, text in texts:
        assert {*re.findall(r"(?<![\w-])--[a-z][a-z-]+", text)} <= known, where
        for command in re.findall(r"`dualipo ([a-z][^`\0]*)", text):
            words = command.split()
            own = [name for name in parsers if words[: len(name.split())] == name.split()]
            assert any(own), (where, command)
            given = {word for word in words if re.fullmatch(r"--[a-z-]+", word)}
            assert given <= options_of(parsers[max(own, key=len)]), (where, command)
            num_given += len(given)
    assert num_given > 5, "the pattern finds no options"
