"""The notebook runs from its first cell to its last, and holds no trace of who ran it.

The cells' source runs in one namespace in a process of its own: Jupyter's own client would bring
some thirty packages. The last expression of a cell is shown as Jupyter would, so it has to have a
text.
"""

import ast
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.store import small_run

ROOT = Path(__file__).parents[1]
NOTEBOOK = ROOT / "docs" / "look-at-a-run.ipynb"
RUNNER = """
import ast, json, sys
import matplotlib
matplotlib.use("agg")
names = {}
for source in json.load(sys.stdin):
    for statement in ast.parse(source).body:
        code = compile(ast.Interactive([statement]), "cell", "single")
        exec(code, names)
"""


def cells() -> list[dict[str, object]]:
    notebook: dict[str, list[dict[str, object]]] = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
    return notebook["cells"]


def sources() -> list[str]:
    return ["".join(cell["source"]) for cell in cells() if cell["cell_type"] == "code"]  # type: ignore[arg-type]


def executed(folder: Path, *, cwd: Path) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"DUALIPO_RUN": str(folder), "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        [sys.executable, "-c", RUNNER],
        input=json.dumps(sources()),
        env=environment,
        cwd=cwd,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    run = small_run.make(tmp_path / "runs" / "mine")
    run.close()
    return run.path


@pytest.mark.slow
def test_every_cell_runs_on_a_run(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "docs").mkdir()
    for where, cwd in ((folder, tmp_path), (Path("runs/mine"), tmp_path / "docs")):
        ended = executed(where, cwd=cwd)
        assert ended.returncode == 0, ended.stderr
        assert "A moves." in ended.stdout and "votes: 1 rows" in ended.stdout


def test_it_is_committed_without_outputs(folder: Path) -> None:
    assert all(not cell.get("outputs") and not cell.get("execution_count") for cell in cells())
    for source in sources():
        ast.parse(source)
        assert max(map(len, source.splitlines())) <= 100
