"""Every path, command, option, setting, link and section that the documents name exists.

What a user makes is told apart by rule. An upper-case word (`RECIPE`, `OUT`) stands for something.
A path is the repository's if it begins with one of its folders or ends as its sources do; every
other path is the user's or a run's. A bare file name must be written by the package or be part of
a command that the documents give.
"""

import argparse
import ast
import importlib
import itertools
import re
import shlex
import tomllib
from collections.abc import Iterable
from functools import cache
from pathlib import Path

import pytest

from dualipo import config, recipes
from dualipo.cli import exporting, importing, main
from dualipo.config import Config, questions
from tests import documents
from tests.documents import DOCUMENTS, ROOT

PACKAGE = ROOT / "dualipo"
SOURCES = [
    path
    for folder in ("dualipo", "tests", "benchmarks", "recipes", "launch")
    for path in sorted((ROOT / folder).rglob("*"))
    if path.suffix in {".py", ".toml", ".sh"}
]
# Files of the repository end so; files of these endings that a user makes stand in no code span.
OURS = {".py", ".md", ".ipynb"}
ENDINGS = {
    *OURS,
    *(".toml", ".json", ".jsonl", ".csv", ".parquet", ".sqlite", ".safetensors", ".html", ".mp4"),
    ".txt",
}
IMPORTS, EXPORTS = importing.FORMATS, (*exporting.FORMATS, exporting.PIPELINE, exporting.LORA)
LEAVES = config.leaves(Config())
GROUPS = {key.rsplit(".", n)[0] for key in LEAVES for n in range(1, key.count(".") + 1)}
LAST_WORDS = {word for key in LEAVES for word in key.split(".")}
FOLDERS = {path.name for base in (ROOT, PACKAGE) for path in base.iterdir() if path.is_dir()} - {
    *("runs", "build", "__pycache__"),
}
_PATH = re.compile(r"[\w./*{},<>+-]+")
_IN_A_RUN = re.compile(r"rounds/(base|\d|N)")
_KEY = re.compile(r"[a-z_0-9]+(\.[a-z_0-9]+)*(\.\*)?")
_PLACEHOLDER = re.compile(r"[A-Z][A-Z_0-9]*")

Parsers = dict[str, argparse.ArgumentParser]

every_document = pytest.mark.parametrize(
    "document", DOCUMENTS, ids=[path.relative_to(ROOT).as_posix() for path in DOCUMENTS]
)


@every_document
def test_links_lead_somewhere(document: Path) -> None:
    for link in documents.links(document):
        name, _, anchor = link.partition("#")
        target = (document.parent / name).resolve() if name else document
        assert target.exists(), f"{document.name}: {link}"
        if anchor:
            assert anchor in documents.anchors(target), f"{document.name}: {link}"


@every_document
def test_paths_exist(document: Path) -> None:
    for span in documents.spans(document):
        for path in _braces(span) if _PATH.fullmatch(span) else []:
            assert not _is_ours(path) or _exists(path), f"{document.name}: {span}"
    for fence in documents.fences(document, "tree"):
        for path in _tree(fence.text):
            assert _exists(path), f"{document.name}: {path}"


@pytest.mark.parametrize("document", [ROOT / "README.md", ROOT / "docs/develop/ARCHITECTURE.md"])
def test_every_folder_of_the_package_has_its_line(document: Path) -> None:
    folders = {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
    lines = documents.read(document).splitlines()
    named = {word.strip("`") for line in lines for word in line.split()[:8]}
    assert not {folder for folder in folders if f"{folder}/" not in named}


@every_document
def test_files_that_are_named_are_written_by_the_package(document: Path) -> None:
    given = " ".join(command for each in DOCUMENTS for command in documents.commands(each))
    for span in documents.spans(document):
        is_file = re.fullmatch(r"[\w-]+\.\w+", span) and Path(span).suffix in ENDINGS - OURS
        assert not is_file or span in given or span in _source(), f"{document.name}: {span}"


@every_document
def test_commands_can_be_parsed(document: Path) -> None:
    for command in documents.commands(document):
        for words in _simple_commands(command):
            _check(words, f"{document.name}: {command}")


@every_document
def test_commands_in_the_prose_name_verbs_and_options(document: Path) -> None:
    for span in documents.spans(document):
        if span.startswith("dualipo "):
            _parser_of(shlex.split(span)[1:], f"{document.name}: {span}")
        elif span.startswith("--"):
            option = re.split(r"[ =]", span)[0]
            known = option in _options() or f'"{option}"' in _source()
            assert known, f"{document.name}: {span}"


@every_document
def test_settings_exist(document: Path) -> None:
    for span in documents.spans(document):
        key, equals, _ = re.sub(r"\s*=\s*", "=", span).partition("=")
        if not _KEY.fullmatch(key) or Path(key).suffix in ENDINGS:
            continue
        if key.startswith("dualipo."):
            assert _is_importable(key.removesuffix("()")), f"{document.name}: {span}"
        elif "." in key and key.split(".")[0] in Config.model_fields:
            assert key.removesuffix(".*") in LEAVES.keys() | GROUPS, f"{document.name}: {span}"
        elif equals and span != "key=value":  # as `dualipo run --help` calls an override
            known = key in LAST_WORDS or f"{key}: " in (PACKAGE / "records.py").read_text()
            assert known, f"{document.name}: {span}"
    for title in ("key", "keys", "setting", "settings"):
        for span in documents.column(document, title):
            assert set(span.partition("=")[0].split(".")) <= LAST_WORDS, f"{document.name}: {span}"


def test_messages_that_are_explained_exist() -> None:
    text = re.sub(r'"\s*\n\s*f?"', "", _source())  # a message may stand on several lines
    for message in documents.column(ROOT / "docs" / "failures.md", "message says"):
        assert message in text, message


@pytest.mark.parametrize(
    ("title", "names"), [("dualipo import", IMPORTS), ("dualipo export", EXPORTS)]
)
def test_every_format_is_documented(title: str, names: Iterable[str]) -> None:
    assert set(documents.column(ROOT / "docs" / "FORMATS.md", f"`{title}`")) >= set(names)


@every_document
def test_recipes_and_questions_in_the_documents_can_be_used(document: Path) -> None:
    for fence in documents.fences(document, "toml"):
        tree = tomllib.loads(fence.text)
        if "dimensions" in tree:
            questions.read(tree)
        else:
            config.resolve(tree, subject=document.name)


@every_document
def test_python_in_the_documents_names_what_exists(document: Path) -> None:
    for fence in documents.fences(document, "python"):
        for node in ast.walk(ast.parse(fence.text)):
            if isinstance(node, ast.ImportFrom) and str(node.module).startswith("dualipo"):
                for alias in node.names:
                    assert _is_importable(f"{node.module}.{alias.name}"), (
                        f"{document.name}: {alias.name}"
                    )


def test_sections_that_the_code_names_exist() -> None:
    method = {*re.findall(r"^#+ (\d(?:\.\d)?)", documents.read(ROOT / "docs" / "METHOD.md"), re.M)}
    faults = documents.read(ROOT / "docs" / "develop" / "FAULTS.md")
    for path in SOURCES:
        text = path.read_text(encoding="utf-8")
        for section in re.findall(r"METHOD\.md (?:section )?(\d(?:\.\d)?)", text):
            assert section in method, f"{path.name}: METHOD.md {section}"
        for row in re.findall(r"FAULTS\.md (\d+)", text):
            assert f"\n| {row} |" in faults, f"{path.name}: FAULTS.md {row}"
        for name in re.findall(r"\bdocs/[\w./-]+\.\w+", text):
            assert (ROOT / name).exists(), f"{path.name}: {name}"


def _check(words: list[str], where: str) -> None:
    """Fail if a command names what is not there: a verb, an option, a setting, a script."""
    program = words[0]
    if program == "dualipo":
        _check_dualipo(words[1:], where)
    elif program in ("./demo", "./check"):
        assert (ROOT / program).exists(), where
        overrides = [word for word in words[1:] if "=" in word]
        _check_overrides(argparse.Namespace(overrides=overrides), where)
    elif program == "python" and words[1] != "-m":
        source = (ROOT / words[1]).read_text()
        for option in (word for word in words[2:] if word.startswith("--")):
            assert f'"{option}"' in source, f"{where}: {option}"
    for extra in re.findall(r"\.\[([\w,]+)\]", " ".join(words)):
        assert set(extra.split(",")) <= _extras(), where


def _check_dualipo(words: list[str], where: str) -> None:
    """Parse a command as the program would, and load a recipe with its overrides."""
    parser = _parser_of(words, where)
    choices = [str(name) for action in parser._actions for name in action.choices or ()]
    given = [choices[0] if word == "FORMAT" else word for word in words if word != "..."]
    try:
        arguments = main.parse(["0" if word == "N" else word for word in given])
    except SystemExit:
        pytest.fail(f"{where}: cannot be parsed")
    _check_overrides(arguments, where)


def _check_overrides(arguments: argparse.Namespace, where: str) -> None:
    """Fail if overrides name no setting, have a wrong value, or do not fit their recipe."""
    overrides = [
        each.replace("questions=questions.toml", "questions=video")  # a file that the user writes
        for each in getattr(arguments, "overrides", [])
        if each != "key=value"
    ]
    recipe = ROOT / getattr(arguments, "recipe", "RECIPE")
    assert recipe.exists() or "recipes/" not in where, where
    if recipe.exists():
        config.load(recipe, overrides)
    elif overrides:
        tree: dict[str, object] = {}
        for override in overrides:
            recipes.apply(tree, override)
        config.resolve(tree, subject=where)


def _parser_of(words: list[str], where: str) -> argparse.ArgumentParser:
    """Return the parser of a command's verb and action; fail if one of its options is unknown."""
    parsers, rest = _parsers(main.build_parser()), list(words)
    parser = None
    while rest and parsers and not rest[0].startswith("-"):
        name = rest.pop(0)
        if _PLACEHOLDER.fullmatch(name):
            break
        assert name in parsers, f"{where}: there is no {name}"
        parser = parsers[name]
        parsers = _parsers(parser)
    parser = parser or main.build_parser()
    known = {option for action in parser._actions for option in action.option_strings}
    for option in (word.partition("=")[0] for word in rest if word.startswith("--")):
        assert option in known, f"{where}: there is no {option}"
    return parser


def _parsers(parser: argparse.ArgumentParser) -> Parsers:
    """Return the parsers of a parser's verbs by name; empty if it has none."""
    return {
        name: verb
        for action in parser._actions
        if isinstance(action, argparse._SubParsersAction)
        for name, verb in action.choices.items()
    }


@cache
def _options() -> set[str]:
    """Return every option of every verb."""
    waiting, options = [main.build_parser()], set()
    while waiting:
        parser = waiting.pop()
        waiting += _parsers(parser).values()
        options |= {option for action in parser._actions for option in action.option_strings}
    return options


def _simple_commands(command: str) -> list[list[str]]:
    """Split a command line at `&&` and `;`, and leave out assignments of variables before it."""
    parts = re.split(r"\s(?:&&|;)\s", command)
    words = [list(itertools.dropwhile(_is_assignment, shlex.split(part))) for part in parts]
    return [each for each in words if each]


def _is_assignment(word: str) -> bool:
    return re.match(r"[A-Z_]+=", word) is not None


def _is_ours(path: str) -> bool:
    """Tell whether a path must be in the repository."""
    if path.startswith(("/", "~")) or _IN_A_RUN.match(path):
        return False
    first, slash, _ = path.partition("/")
    return first in FOLDERS if slash else Path(path).suffix in OURS


def _exists(path: str) -> bool:
    """Tell whether the repository has a path: below its root, in the package, or by its name."""
    if "/" not in path.rstrip("/") and Path(path).suffix in OURS:
        return any(True for base in (ROOT, PACKAGE, ROOT / "tests") for _ in base.rglob(path))
    return any(any(True for _ in base.glob(path.rstrip("/"))) for base in (ROOT, PACKAGE))


def _braces(path: str) -> list[str]:
    """Expand `a/{b,c}.py` to its paths."""
    parts = [part.split(",") for part in re.split(r"[{}]", path)]
    return ["".join(choice) for choice in itertools.product(*parts)] if "{" in path else [path]


def _tree(text: str) -> list[str]:
    """List the paths of a file tree that is indented by two spaces a level."""
    folders: list[str] = []
    paths = []
    for line in filter(str.strip, text.splitlines()):
        indent, name = len(line) - len(line.lstrip()), line.split()[0]
        if indent > 2 * len(folders) or indent % 2:
            continue  # the description above goes on
        folders = folders[: indent // 2]
        paths.append("".join([*folders, name]))
        folders += [name] if name.endswith("/") else []
    return paths


def _is_importable(name: str) -> bool:
    """Tell whether a dotted name is a module of the package, or what a module defines."""
    module, _, attribute = name.rpartition(".")
    try:
        importlib.import_module(name)
    except ModuleNotFoundError:
        return bool(module) and hasattr(importlib.import_module(module), attribute)
    return True


@cache
def _source() -> str:
    """Return all source text but the tests'."""
    paths = (path for path in SOURCES if ROOT / "tests" not in path.parents)
    return "\n".join(path.read_text(encoding="utf-8") for path in paths)


@cache
def _extras() -> set[str]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return set(project["optional-dependencies"])
