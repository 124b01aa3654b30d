"""Count how readable the code is: `python -m tests.house [-v] [FOLDER ...]`.

ARCHITECTURE.md gives the rules; `LIMITS` holds what is allowed, and `test_style` enforces it.
Vague names are counted among all bound names: parameters, assignments, loop variables, functions
and classes.
A docstring is a fragment where its first line is no sentence that stands alone: a function's begins
with a verb in the imperative, a class's or a module's says what it is. `tests.duplicates` counts
the pairs of files that share six lines of logic.
"""

import argparse
import ast
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.duplicates import duplicates

ROOT = Path(__file__).parents[1]


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


VAGUE = _words("""
    one some found told made mine here there it thing things stuff that this those these what which
    data info obj tmp
""")
# Words with which no sentence of a docstring begins that a reader understands without its context.
_DANGLING = _words("""
    of what where as whether how which when who whose why if in on at its it this these those within
    from to by for with without only so than then that not no none while until both and or but also
    like
""")
# A function's summary is an order: it does not begin with a noun.
_NOUNS = _words("""
    a an the all any every each some one two three his her their our several many most same true
    false
""")

LIMITS = {
    "vague names": 0.005,  # of bound names
    "fragment docstrings": 0.02,  # of docstrings
    "long functions": 0,  # over MAX_FUNCTION lines
    "long files": 0,  # over MAX_FILE lines
    "duplicates": 15,  # pairs of files that share six lines of logic
}
MAX_FUNCTION = 45
MAX_FILE = 400

_Documented = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


@dataclass(frozen=True)
class Place:
    """A spot in the source, with what is wrong there."""

    path: Path
    line: int
    text: str

    def __str__(self) -> str:
        return f"{self.path.relative_to(ROOT)}:{self.line}: {self.text}"


def sources(folders: Sequence[Path]) -> list[Path]:
    """List the Python files below the folders."""
    return sorted(path for folder in folders for path in folder.rglob("*.py"))


def bound_names(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Yield the line and the name of every binding in a module, imports left out."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.lineno, node.id
        elif isinstance(node, ast.arg):
            yield node.lineno, node.arg
        elif isinstance(node, (*_FUNCTIONS, ast.ClassDef)) or (
            isinstance(node, ast.ExceptHandler) and node.name
        ):
            yield node.lineno, node.name


def is_vague(name: str) -> bool:
    """Tell whether a name says nothing of what it holds."""
    return name.strip("_") in VAGUE


def docstrings(tree: ast.AST) -> Iterator[tuple[_Documented, str]]:
    """Yield every documented node with the first line of its docstring."""
    for node in ast.walk(tree):
        if isinstance(node, _Documented) and (text := ast.get_docstring(node)):
            yield node, text.splitlines()[0]


def is_fragment(node: _Documented, first_line: str) -> bool:
    """Tell whether a docstring's first line is no sentence that stands alone."""
    words = first_line.split()
    first = words[0].lower().strip(",.:;`\"'")
    if not first_line.rstrip().endswith((".", "?", "!", ":")) or len(words) < 2:
        return True
    if isinstance(node, _FUNCTIONS) and not _is_property(node) and first in _NOUNS:
        return True
    return first in _DANGLING


def _is_property(node: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    names = {getattr(d, "id", getattr(d, "attr", "")) for d in node.decorator_list}
    return bool(names & {"property", "cached_property"})


def long_functions(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Yield the line and the name of every function with more than MAX_FUNCTION lines."""
    for node in ast.walk(tree):
        if isinstance(node, _FUNCTIONS):
            assert node.end_lineno is not None
            if (length := node.end_lineno - node.lineno + 1) > MAX_FUNCTION:
                yield node.lineno, f"{node.name} has {length} lines"


@dataclass(frozen=True)
class Counts:
    """The places that break each rule, and the numbers of all names and docstrings."""

    places: dict[str, list[Place]]
    num_names: int
    num_docstrings: int

    def value(self, rule: str) -> float:
        """Return a rule's count, as a share where its limit is one."""
        num = len(self.places[rule])
        totals = {"vague names": self.num_names, "fragment docstrings": self.num_docstrings}
        return num / max(1, totals[rule]) if rule in totals else num


def count(paths: Sequence[Path]) -> Counts:
    """Count what breaks a rule in the files."""
    places: dict[str, list[Place]] = {rule: [] for rule in LIMITS}
    num_names = num_docstrings = 0
    for path in paths:
        text = path.read_text(encoding="utf-8")
        tree = ast.parse(text)
        names, documented = list(bound_names(tree)), list(docstrings(tree))
        num_names, num_docstrings = num_names + len(names), num_docstrings + len(documented)
        places["vague names"] += [Place(path, *at) for at in names if is_vague(at[1])]
        places["fragment docstrings"] += [
            Place(path, getattr(node, "lineno", 1), first)
            for node, first in documented
            if is_fragment(node, first)
        ]
        places["long functions"] += [Place(path, *at) for at in long_functions(tree)]
        if (length := len(text.splitlines())) > MAX_FILE:
            places["long files"].append(Place(path, length, f"{length} lines"))
    places["duplicates"] = [
        Place(a.path, a.line, f"stands again at {b.path.relative_to(ROOT)}:{b.line}")
        for a, b in duplicates(paths)
    ]
    return Counts(places, num_names, num_docstrings)


def main() -> int:
    """Print the counts beside their limits; exit with 1 where a limit is passed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("-v", "--verbose", action="store_true", help="name every place")
    parser.add_argument("folders", nargs="*", type=Path, default=[ROOT / "dualipo"])
    asked = parser.parse_args()
    folders = [folder.resolve() for folder in asked.folders]
    counts = count(sources(folders))
    if asked.verbose:
        for rule, places in counts.places.items():
            for place in places:
                print(f"{place}  [{rule}]")
    print(f"{counts.num_names} bound names, {counts.num_docstrings} docstrings")
    broken = False
    for rule, limit in LIMITS.items():
        value = counts.value(rule)
        broken |= value > limit
        shares = 0 < limit < 1
        shown = f"{value:.2%} (limit {limit:.1%})" if shares else f"{value:g} (limit {limit:g})"
        print(f"{rule}: {shown}")
    return int(broken)


if __name__ == "__main__":
    sys.exit(main())
