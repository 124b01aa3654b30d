"""The reading lists name files that exist, stay short, and hold every stage of a round."""

import ast
import re
from pathlib import Path

import pytest

from dualipo.rounds import loop

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "develop" / "reading.md"
LIMITS = {"A whole round": 35, "The alignment": 9}
# Stages before round 0, which the page leaves out by name.
BEFORE_ROUNDS = {"dualipo/rounds/warming.py"}


def listed(title: str) -> list[str]:
    section = PAGE.read_text().split(f"## {title}\n")[1].split("\n## ")[0]
    return re.findall(r"^\d+\. `([\w/]+\.py)`: .+$", section, re.MULTILINE)


@pytest.mark.parametrize(("title", "limit"), LIMITS.items())
def test_a_list_is_short_and_its_files_exist(title: str, limit: int) -> None:
    files = listed(title)
    assert 0 < len(files) <= limit and len({*files}) == len(files)
    assert not [name for name in files if not (ROOT / name).is_file()]


def test_the_round_s_list_holds_every_stage_of_the_loop() -> None:
    tree = ast.parse(Path(loop.__file__).read_text())
    [rounds] = [n for n in tree.body if isinstance(n, ast.FunctionDef) and n.name == "rounds"]
    calls = [n.func for n in ast.walk(rounds) if isinstance(n, ast.Call)]
    modules = {
        f"dualipo/rounds/{call.value.id}.py"
        for call in calls
        if isinstance(call, ast.Attribute) and isinstance(call.value, ast.Name)
    }
    assert len(modules) > 6
    assert modules - BEFORE_ROUNDS <= {*listed("A whole round")}
