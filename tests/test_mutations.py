"""The mutations can be applied, name tests that are there, and stand beside every row of faults."""

import ast
import re
import shutil
from pathlib import Path

import pytest

from tests import mutations
from tests.mutations import ROOT, Mutation

MUTATIONS = mutations.read()
PAGE = ROOT / "docs" / "develop" / "FAULTS.md"


@pytest.mark.parametrize(
    "mutation", MUTATIONS, ids=lambda m: f"{m.fault}-{m.what.replace(' ', '-')}"
)
def test_a_mutation_fits_the_code_and_names_tests_that_are_there(mutation: Mutation) -> None:
    text = (ROOT / mutation.file).read_text(encoding="utf-8")
    assert text.count(mutation.old) == 1, "its text is not there once: choose it anew and try it"
    ast.parse(mutation.apply(text))
    for test in mutation.tests:
        path, _, name = test.partition("::")
        assert re.search(rf"^def {name}\(", (ROOT / path).read_text(encoding="utf-8"), re.M), test


def test_every_row_of_the_faults_has_the_mutations_that_its_tests_catch() -> None:
    """Compare the table's last column with what `mutations.toml` breaks, word for word."""
    rows = re.findall(r"^\| (\d+) \|.*\| ([^|]*) \|$", PAGE.read_text(encoding="utf-8"), re.M)
    known: dict[int, list[str]] = {}
    for mutation in MUTATIONS:
        known.setdefault(mutation.fault, []).append(mutation.what)
    assert {int(number): column for number, column in rows} == {
        fault: "; ".join(whats) for fault, whats in sorted(known.items())
    }


@pytest.mark.slow
def test_a_mutation_is_caught_by_its_test_and_survives_another(tmp_path: Path) -> None:
    """Break a copy: the tests on it fail, and the copy is mended again."""
    copy = tmp_path / "tree"
    for name in ("dualipo", "tests"):
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("weights"))
    shutil.copy2(ROOT / "pyproject.toml", copy)
    chosen = next(m for m in MUTATIONS if m.file == "dualipo/critic/voting.py")
    before = (copy / chosen.file).read_bytes()
    assert mutations.is_caught(chosen, copy)[0]
    assert (copy / chosen.file).read_bytes() == before
    elsewhere = Mutation(**vars(chosen) | {"tests": ("tests/test_seeds.py",)})
    assert not mutations.is_caught(elsewhere, copy)[0]
