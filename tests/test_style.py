"""The rules that a machine can check: format, lint, types, lengths, recipes, and the fault list."""

import hashlib
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from dualipo import config
from tests import house

ROOT = Path(__file__).parents[1]
SOURCES = sorted([*(ROOT / "dualipo").rglob("*.py"), *(ROOT / "tests").rglob("*.py")])
# Scripts. Those that are started with `-m` know one another by a second name, which mypy refuses.
BENCHMARKS = [
    path
    for path in sorted((ROOT / "benchmarks").glob("*.py"))
    if path.stem not in ("busy", "serving", "workers")
]
RECIPES = sorted((ROOT / "recipes").rglob("*.toml"))

# Rows of the fault matrix whose behaviour a test must show, by its number in the test's name.
FAULTS = {
    *(*range(1, 42), 44, 45, *range(47, 68), 82, 83),
}
NOT_YET: set[int] = set()


def check(*command: str) -> None:
    ended = subprocess.run(
        [sys.executable, "-m", *command], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr


def test_ruff_would_change_nothing() -> None:
    check("ruff", "format", "--check", ".")


def test_ruff_finds_nothing() -> None:
    check("ruff", "check", ".")


@pytest.mark.slow
def test_mypy_finds_nothing() -> None:
    check("mypy", "--cache-dir", str(mypy_cache()), "dualipo", *map(str, BENCHMARKS))


def mypy_cache() -> Path:
    """Return the cache of this list of modules, and remove those of other lists.

    After `from package import module` failed, mypy goes on reporting the module as missing when it
    has been added: it does not look at an unchanged file again.
    """
    modules = [*sorted((ROOT / "dualipo").rglob("*.py")), *BENCHMARKS]
    names = "\n".join(str(path.relative_to(ROOT)) for path in modules)
    caches = ROOT / ".mypy_cache" / "by_modules"
    own = caches / hashlib.sha256(names.encode()).hexdigest()[:16]
    for cache in caches.glob("*"):
        if cache != own:
            shutil.rmtree(cache)
    return own


@pytest.mark.slow
@pytest.mark.parametrize("folder", ["dualipo", "tests", "benchmarks"])
def test_names_and_docstrings_can_be_read(folder: str) -> None:
    """Each rule of `house.LIMITS`; `python -m tests.house -v FOLDER` names the places."""
    counts = house.count(house.sources([ROOT / folder]))
    broken = [rule for rule, limit in house.LIMITS.items() if counts.value(rule) > limit]
    assert not broken, "\n".join(str(place) for rule in broken for place in counts.places[rule])


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_files_are_short(path: Path) -> None:
    num_lines = len(path.read_text().splitlines())
    assert num_lines <= house.MAX_FILE, f"{path}: {num_lines} lines. Divide it by what it is about."


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: path.stem)
def test_every_recipe_parses(recipe: Path) -> None:
    config.load(recipe)


def test_every_fault_has_its_test() -> None:
    names = re.findall(r"^def test_fault_(\d+)_", "\n".join(p.read_text() for p in SOURCES), re.M)
    missing = FAULTS - {int(number) for number in names}
    assert missing == NOT_YET, "keep NOT_YET to what is missing"
