"""Find pairs of files that share six lines of logic: the same lines, or lines of the same shape.

A line's shape has N for every name, S for every string and 0 for every number. Blank lines,
comments, docstrings, imports, decorators, fields with a default and options of the command line are
no logic, nor is a line of punctuation and keywords alone. Six lines that only agree in shape count
when they hold `MIN_TOKENS` tokens together: below that they are lists of fields or of arguments,
which look alike whatever they mean.
"""

import ast
import io
import keyword
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from tokenize import COMMENT, NAME, NUMBER, STRING, TokenInfo, generate_tokens

MIN_LINES = 6
MIN_TOKENS = 30
_SIGNS = {NUMBER: "0", STRING: "S"}


@dataclass(frozen=True)
class Run:
    """Six lines of logic in a row: where they begin, in the file and among its lines of logic."""

    path: Path
    line: int
    index: int


def duplicates(paths: Sequence[Path]) -> list[tuple[Run, Run]]:
    """List the first shared run of every pair of files that share one; a file pairs with itself."""
    places: dict[str, list[Run]] = defaultdict(list)
    for path in paths:
        for key, run in _runs(path):
            places[key].append(run)
    pairs: dict[tuple[Path, Path], tuple[Run, Run]] = {}
    for runs in places.values():
        for a, b in combinations(runs, 2):
            if a.path != b.path or b.index - a.index >= MIN_LINES:
                pairs.setdefault((a.path, b.path), (a, b))
    return [pairs[key] for key in sorted(pairs)]


def _runs(path: Path) -> Iterator[tuple[str, Run]]:
    """Yield each run of a file by its text, and by its shape where that holds tokens enough."""
    lines = list(logic(path.read_text(encoding="utf-8")))
    for index in range(len(lines) - MIN_LINES + 1):
        window = lines[index : index + MIN_LINES]
        run = Run(path, window[0][0], index)
        yield "\n".join(text for _, text, _ in window), run
        shape = "\n".join(shape for _, _, shape in window)
        if len(shape.split()) >= MIN_TOKENS:
            yield "shape\n" + shape, run


def logic(text: str) -> Iterator[tuple[int, str, str]]:
    """Yield the number, the text and the shape of every line of logic in a module."""
    without_logic = set(_lines_without_logic(ast.parse(text)))
    tokens: dict[int, list[TokenInfo]] = defaultdict(list)
    for token in generate_tokens(io.StringIO(text).readline):
        if token.string.strip() and token.type != COMMENT:
            tokens[token.start[0]].append(token)
    for line in sorted(tokens.keys() - without_logic):
        signs = [_sign(token) for token in tokens[line]]
        if not {"N", "S", "0"}.isdisjoint(signs):
            yield line, " ".join(token.string for token in tokens[line]), " ".join(signs)


def _sign(token: TokenInfo) -> str:
    is_name = token.type == NAME and not keyword.iskeyword(token.string)
    return "N" if is_name else _SIGNS.get(token.type, token.string)


def _lines_without_logic(tree: ast.Module) -> Iterator[int]:
    for node in ast.walk(tree):
        if _is_declaration(node):
            yield from range(node.lineno, node.end_lineno + 1)
        is_text = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        whole = is_text or isinstance(node, (ast.Import, ast.ImportFrom))
        for part in [node] if whole else getattr(node, "decorator_list", []):
            yield from range(part.lineno, part.end_lineno + 1)


def _is_declaration(node: ast.AST) -> bool:
    """Tell whether a node declares a field with a default, or an option of the command line."""
    if isinstance(node, ast.AnnAssign):
        return isinstance(node.value, ast.Call) and getattr(node.value.func, "id", "") == "Field"
    call = node.value if isinstance(node, ast.Expr) else None
    return isinstance(call, ast.Call) and getattr(call.func, "attr", "") == "add_argument"
